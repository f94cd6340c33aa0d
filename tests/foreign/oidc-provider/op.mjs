// An authorization server that we did not write (oidc-provider), for the tests to run Bursar against.
// Listens on a free loopback port, prints {"issuer":…} on one line, and ends when its standard input does.
//
// Beside the real endpoints there are three for the tests:
//   POST /test/mint           {client_id}   a user's refresh token, without a browser
//   POST /test/revoke-grants  {client_id}   what users do who withdraw consent
//   GET  /test/journal                      every token request so far; refresh tokens as SHA-256, in hex

import { createHash, generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const RESOURCE = 'urn:test:api';
const { CLIENT_SECRET } = process.env;

const server = createServer();
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const issuer = `http://127.0.0.1:${server.address().port}`;

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

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const provider = new Provider(issuer, {
  clients: [
    client('by-basic', 'client_secret_basic', ['client_credentials']),
    client('by-post', 'client_secret_post', ['client_credentials']),
    client('for-users', 'client_secret_basic', ['authorization_code', 'refresh_token']),
  ],
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256' }] },
  cookies: { keys: ['not used: no browser comes here'] },
  scopes: ['openid', 'offline_access'],
  findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
  rotateRefreshToken: true,
  ttl: { AccessToken: 3600, ClientCredentials: 3600, IdToken: 3600, RefreshToken: 86400, Grant: 86400 },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => RESOURCE,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({ scope: 'api:read', accessTokenFormat: 'jwt', accessTokenTTL: 3600 }),
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

async function mint({ client_id }) {
  const grant = new provider.Grant({ clientId: client_id, accountId: 'user' });
  grant.addOIDCScope('openid offline_access');
  grant.addResourceScope(RESOURCE, 'api:read');
  const grantId = await grant.save();
  minted.push({ grant: grantId, owner: client_id });
  const token = new provider.RefreshToken({
    accountId: 'user',
    client: await provider.Client.find(client_id),
    grantId,
    scope: 'openid offline_access api:read',
    resource: RESOURCE,
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
  if (ctx.path === '/test/mint') ctx.body = await mint(await body(ctx.req));
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
console.log(JSON.stringify({ issuer }));
process.stdin.resume().on('end', () => process.exit(0));
