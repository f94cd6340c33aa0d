// An authorization server that we did not write (oidc-provider), for the tests to run Bursar against.
// Listens on a free loopback port, prints {"issuer":…} on one line, and ends when its standard input does.
//
// With TLS_CA, TLS_CERTIFICATE and TLS_KEY (PEM) in its environment it listens on a second port too, with TLS, for
// clients that authenticate with a certificate; the metadata name it as RFC 8705 says, in mtls_endpoint_aliases.
//
// Beside the real endpoints there are four for the tests:
//   POST /test/client         metadata      registers a client: the names of RFC 7591, and `certificate` in PEM
//   POST /test/mint           {client_id}   a user's refresh token, without a browser
//   POST /test/revoke-grants  {client_id}   what users do who withdraw consent
//   GET  /test/journal                      every token request so far; refresh tokens as SHA-256, in hex

import { X509Certificate, createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { Provider } from 'oidc-provider';

const RESOURCE = 'urn:test:api';
const { CLIENT_SECRET, TLS_CA, TLS_CERTIFICATE, TLS_KEY } = process.env;

async function listen(server) {
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  return server.address().port;
}

const server = createServer();
const issuer = `http://127.0.0.1:${await listen(server)}`;

// Any certificate is let in here: whether it is this client's is the provider's to say.
const tlsServer = TLS_CA && createTlsServer({
  ca: TLS_CA, cert: TLS_CERTIFICATE, key: TLS_KEY, requestCert: true, rejectUnauthorized: false,
});
const tls = tlsServer && `https://127.0.0.1:${await listen(tlsServer)}`;
const peer = (ctx) => ctx.socket.getPeerX509Certificate?.();

function client(client_id, token_endpoint_auth_method, grant_types) {
  return {
    client_id,
    client_secret: CLIENT_SECRET,
    token_endpoint_auth_method,
    grant_types,
    redirect_uris: grant_types.includes('authorization_code') ? ['https://app.test/callback'] : [],
    response_types: grant_types.includes('authorization_code') ? ['code'] : [],
  };
}

const WITH_JWT = ['by-basic', 'by-post', 'for-users'];
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const provider = new Provider(issuer, {
  clients: [
    client('by-basic', 'client_secret_basic', ['client_credentials']),
    client('by-post', 'client_secret_post', ['client_credentials']),
    client('for-users', 'client_secret_basic', ['authorization_code', 'refresh_token']),
    client('resource-server', 'client_secret_basic', []),
  ],
  clientAuthMethods: [
    'client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'private_key_jwt',
    'tls_client_auth', 'self_signed_tls_client_auth', 'none',
  ],
  pkce: { required: () => true },
  discovery: tls && {
    mtls_endpoint_aliases: {
      token_endpoint: `${tls}/token`,
      revocation_endpoint: `${tls}/token/revocation`,
      introspection_endpoint: `${tls}/token/introspection`,
      device_authorization_endpoint: `${tls}/device/auth`,
      pushed_authorization_request_endpoint: `${tls}/request`,
    },
  },
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256' }] },
  cookies: { keys: [randomBytes(32).toString('hex')] },
  scopes: ['openid', 'offline_access'],
  findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
  rotateRefreshToken: true,
  issueRefreshToken: (_, asking) => asking.grantTypeAllowed('refresh_token'),
  ttl: { AccessToken: 3600, ClientCredentials: 3600, IdToken: 3600, RefreshToken: 86400, Grant: 86400 },
  features: {
    devInteractions: { enabled: true },
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => true },
    introspection: { enabled: true },
    mTLS: {
      enabled: true,
      tlsClientAuth: true,
      selfSignedTlsClientAuth: true,
      certificateBoundAccessTokens: true,
      getCertificate: peer,
      certificateAuthorized: (ctx) => ctx.socket.authorized,
      certificateSubjectMatches: (ctx, property, expected) => property === 'tls_client_auth_san_dns'
        && peer(ctx).subjectAltName?.split(', ').includes(`DNS:${expected}`),
    },
    pushedAuthorizationRequests: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      // Those of the tests that look into a JWT; other clients name a resource, or get a token for none.
      defaultResource: (_, asking) => (WITH_JWT.includes(asking.clientId) ? RESOURCE : undefined),
      useGrantedResource: () => true,
      getResourceServerInfo: (_, resource) => ({
        scope: 'api:read',
        accessTokenFormat: resource === RESOURCE ? 'jwt' : 'opaque',
        accessTokenTTL: 3600,
      }),
    },
  },
});

const journal = [];
const minted = [];

async function body(request) {
  let text = '';
  for await (const chunk of request) text += chunk;
  return JSON.parse(text);
}

async function register({ certificate, ...metadata }) {
  // A certificate that is to be recognised by itself stands in the client's key set (RFC 8705 section 2.2.2).
  if (certificate) {
    const { raw, publicKey } = new X509Certificate(certificate);
    metadata.jwks = { keys: [{ ...publicKey.export({ format: 'jwk' }), x5c: [raw.toString('base64')] }] };
  }
  const made = new provider.Client(metadata);
  await provider.Client.adapter.upsert(made.clientId, made.metadata());
  return {};
}

async function mint({ client_id }) {
  const grant = new provider.Grant({ clientId: client_id, accountId: 'user' });
  grant.addOIDCScope('openid offline_access');
  const resource = WITH_JWT.includes(client_id) ? RESOURCE : undefined;
  if (resource) grant.addResourceScope(resource, 'api:read');
  const grantId = await grant.save();
  minted.push({ grant: grantId, owner: client_id });
  const token = new provider.RefreshToken({
    accountId: 'user',
    client: await provider.Client.find(client_id),
    grantId,
    scope: resource ? 'openid offline_access api:read' : 'openid offline_access',
    resource,
    gty: 'authorization_code',
    expiresWithSession: false,
    rotations: 0,
    iiat: Math.floor(Date.now() / 1000),
  });
  return { refresh_token: await token.save() };
}

/** As the server's own revocation endpoint does it: the grant, and whatever came of it. */
async function revokeGrants({ client_id }) {
  for (const { grant } of minted.filter(({ owner }) => owner === client_id)) {
    await provider.RefreshToken.revokeByGrantId(grant);
    await provider.AccessToken.revokeByGrantId(grant);
    await (await provider.Grant.find(grant))?.destroy();
  }
  return {};
}

provider.use(async (ctx, next) => {
  if (ctx.path === '/test/client') ctx.body = await register(await body(ctx.req));
  else if (ctx.path === '/test/mint') ctx.body = await mint(await body(ctx.req));
  else if (ctx.path === '/test/revoke-grants') ctx.body = await revokeGrants(await body(ctx.req));
  else if (ctx.path === '/test/journal') ctx.body = journal;
  else if (ctx.path === '/token') {
    const at = Date.now();
    await next();
    const { params, client: asking } = ctx.oidc;
    const sent = params?.refresh_token;
    journal.push({
      at,
      client_id: asking?.clientId,
      auth: ctx.headers.authorization ? 'basic' : 'post',
      grant_type: params?.grant_type,
      refresh_token: sent && createHash('sha256').update(sent).digest('hex'),
      rotated: ctx.body.refresh_token !== undefined && ctx.body.refresh_token !== sent,
      status: ctx.status,
      error: ctx.body.error,
    });
  } else await next();
});

server.on('request', provider.callback());
tlsServer?.on('request', provider.callback());
console.log(JSON.stringify({ issuer }));
// What else would be said here nobody reads.
console.info = () => {};
process.stdin.resume().on('end', () => process.exit(0));
