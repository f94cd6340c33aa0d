"""Receives traces by OTLP over gRPC and TLS, with the definitions that OpenTelemetry publishes for Python.

Arguments: the certificate and its key, in PEM files. Prints {"issuer": ADDRESS} when it serves, and for each line on
standard input one line with all the spans that it has: name and service. Ends with its standard input.
"""

import json
import sys
from concurrent import futures
from threading import Lock

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self):
        self.lock, self.spans = Lock(), []

    def Export(self, request, context):
        with self.lock:
            for of in request.resource_spans:
                service = {one.key: one.value.string_value for one in of.resource.attributes}.get("service.name")
                for scope in of.scope_spans:
                    self.spans += [{"name": span.name, "service": service} for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()


def read(path):
    with open(path, "rb") as file:
        return file.read()


certificate, key = map(read, sys.argv[1:3])
receiver = Receiver()
server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, server)
port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
server.start()
print(json.dumps({"issuer": f"https://127.0.0.1:{port}"}), flush=True)
for _ in sys.stdin:
    with receiver.lock:
        print(json.dumps(receiver.spans), flush=True)
server.stop(None)
