"""A generic gRPC client: knows the server by its reflection only, nothing here is generated from our files.

usage: get_token.py ADDRESS CONNECTION MISSING

Gets a token of CONNECTION, asks for the server's health, fails to get a token of MISSING, and prints all three as JSON.
"""

import json
import sys

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

TIMEOUT_SECONDS = 10


class Client:
    """Calls any method of any service that the server describes."""

    def __init__(self, channel):
        self._channel = channel
        self._database = ProtoReflectionDescriptorDatabase(channel)
        self._pool = descriptor_pool.DescriptorPool(self._database)

    def services(self):
        return sorted(self._database.get_services())

    def call(self, service, method, fields):
        described = self._pool.FindServiceByName(service).FindMethodByName(method)
        request, answer = (
            message_factory.GetMessageClass(side) for side in (described.input_type, described.output_type)
        )
        invoke = self._channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=request.SerializeToString,
            response_deserializer=answer.FromString,
        )
        message = invoke(json_format.ParseDict(fields, request()), timeout=TIMEOUT_SECONDS)
        return json_format.MessageToDict(message, preserving_proto_field_name=True)


def failure(call):
    """The rich error (google.rpc.Status) that a call ends with."""
    try:
        return {"answered": call()}
    except grpc.RpcError as error:
        status = rpc_status.from_call(error)
        info = error_details_pb2.ErrorInfo()
        for detail in status.details:
            if detail.Is(info.DESCRIPTOR):
                detail.Unpack(info)
        return {
            "code": error.code().name,
            "message": status.message,
            "reason": info.reason,
            "domain": info.domain,
            "metadata": dict(info.metadata),
        }


def main(address, connection, missing):
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        client = Client(channel)

        def token_of(name):
            return client.call("bursar.v1.TokenService", "GetToken", {"name": name})

        report = {
            "services": client.services(),
            "token": token_of(connection),
            "health": client.call("grpc.health.v1.Health", "Check", {"service": "bursar.v1.TokenService"}),
            "error": failure(lambda: token_of(missing)),
        }
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
