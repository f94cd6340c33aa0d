//! What is asked for: the form of each request, without a word about who asks (that is `client_auth`'s). Forms are
//! written here and not by a client library: those know the grants of RFC 6749 only, and send what they write.

use super::{Exchange, Grant, TokenExchange};
use crate::domain::{
    profile::ResourceIndicators,
    token::{AccessToken, RefreshToken, Secret},
};
use std::collections::BTreeMap;
use url::form_urlencoded::Serializer;

/// What most forms fit into, in bytes.
const FORM_BYTES: usize = 8 * 1024;

/// Parameters of a request in the encoding of RFC 6749 appendix B. With secrets in it: it cannot be printed.
pub(super) struct Form(Serializer<'static, String>);

/// What is asked for at a token endpoint. The server's own words are chosen by its dialect.
pub(super) enum Ask<'a> {
    /// RFC 6749 §6.
    RefreshToken(&'a RefreshToken),
    /// RFC 6749 §4.4.2.
    ClientCredentials,
    /// RFC 6749 §4.1.3, RFC 7636 §4.5.
    AuthorizationCode { code: &'a Secret, redirect_uri: Option<&'a str>, code_verifier: Option<&'a Secret> },
    /// RFC 8628 §3.4.
    DeviceCode { device_code: &'a Secret },
    /// RFC 6749 §4.3.2; `credtype` is SAP Concur's, where it is `password` for people and `authtoken` for the
    /// request tokens of companies.
    Password { username: &'a str, password: &'a Secret, credtype: Option<&'static str> },
    /// SAP Concur: what was sent with the request for the one-time password has to be sent again.
    Otp { otp: &'a Secret, email: &'a str, parameters: &'a BTreeMap<String, String> },
    /// RFC 7523 §2.1.
    JwtBearer { assertion: &'a Secret },
    /// RFC 7522 §2.1; the assertion is in base64url already.
    SamlBearer { assertion: &'a Secret },
    /// RFC 8693 §2.1.
    TokenExchange(&'a TokenExchange),
}

/// What is to be forgotten (RFC 7009).
pub(super) enum Forget<'a> {
    RefreshToken(&'a RefreshToken),
    AccessToken(&'a AccessToken),
}

/// Besides the grant: nothing that is empty is sent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Besides<'a> {
    pub(super) scopes: &'a [String],
    /// RFC 8707 §2.2.
    pub(super) resources: &'a [String],
    /// What the profile adds to every token request.
    pub(super) parameters: Option<&'a BTreeMap<String, String>>,
}

/// What an exchange asks for beside its grant: the profile decides where resources are sent.
impl<'a> From<&Exchange<'a>> for Besides<'a> {
    fn from(exchange: &Exchange<'a>) -> Self {
        let resources = match exchange.profile.resource_indicators {
            ResourceIndicators::None | ResourceIndicators::Authorization => &[][..],
            ResourceIndicators::Everywhere => exchange.resources,
        };
        Self { scopes: exchange.scopes, resources, parameters: Some(&exchange.profile.token_parameters) }
    }
}

impl Form {
    pub(super) fn new() -> Self {
        // Room for nearly every form: growing leaves copies of what is in it behind.
        Self(Serializer::new(String::with_capacity(FORM_BYTES)))
    }

    /// A request for a token.
    pub(super) fn token(ask: &Ask<'_>, besides: Besides<'_>) -> Self {
        let mut form = Self::new();
        form.put("grant_type", grant_type(ask));
        form.put_grant(ask);
        for resource in besides.resources {
            form.put("resource", resource);
        }
        if !besides.scopes.is_empty() {
            form.put("scope", &besides.scopes.join(" "));
        }
        for (name, value) in besides.parameters.into_iter().flatten() {
            form.put(name, value);
        }
        form
    }

    /// RFC 7009 §2.1.
    pub(super) fn revocation(forget: &Forget<'_>) -> Self {
        let mut form = Self::new();
        let (token, hint) = match forget {
            Forget::RefreshToken(token) => (&token.0, "refresh_token"),
            Forget::AccessToken(token) => (&token.0, "access_token"),
        };
        form.put("token", token.expose()).put("token_type_hint", hint);
        form
    }

    pub(super) fn put(&mut self, name: &str, value: &str) -> &mut Self {
        self.0.append_pair(name, value);
        self
    }

    pub(super) fn into_body(mut self) -> Vec<u8> {
        self.0.finish().into_bytes()
    }

    fn put_grant(&mut self, ask: &Ask<'_>) {
        match ask {
            Ask::RefreshToken(token) => {
                self.put("refresh_token", token.0.expose());
            }
            Ask::ClientCredentials => {}
            Ask::AuthorizationCode { code, redirect_uri, code_verifier } => {
                self.put("code", code.expose())
                    .put_given("redirect_uri", *redirect_uri)
                    .put_given("code_verifier", code_verifier.map(Secret::expose));
            }
            Ask::DeviceCode { device_code } => {
                self.put("device_code", device_code.expose());
            }
            Ask::Password { username, password, credtype } => {
                self.put("username", username)
                    .put("password", password.expose())
                    .put_given("credtype", *credtype);
            }
            Ask::Otp { otp, email, parameters } => {
                self.put("otp", otp.expose()).put("channel_type", "email").put("channel_handle", email);
                for (name, value) in *parameters {
                    self.put(name, value);
                }
            }
            Ask::JwtBearer { assertion } | Ask::SamlBearer { assertion } => {
                self.put("assertion", assertion.expose());
            }
            Ask::TokenExchange(given) => self.put_token_exchange(given),
        }
    }

    fn put_token_exchange(&mut self, given: &TokenExchange) {
        self.put("subject_token", given.subject_token.expose())
            .put("subject_token_type", &given.subject_token_type);
        if let Some((token, kind)) = &given.actor {
            self.put("actor_token", token.expose()).put("actor_token_type", kind);
        }
        self.put_given("requested_token_type", given.requested_token_type.as_deref());
        for audience in &given.audiences {
            self.put("audience", audience);
        }
        for resource in &given.resources {
            self.put("resource", resource);
        }
    }

    fn put_given(&mut self, name: &str, value: Option<&str>) -> &mut Self {
        if let Some(value) = value {
            self.put(name, value);
        }
        self
    }
}

const fn grant_type(ask: &Ask<'_>) -> &'static str {
    match ask {
        Ask::RefreshToken(_) => "refresh_token",
        Ask::ClientCredentials => "client_credentials",
        Ask::AuthorizationCode { .. } => "authorization_code",
        Ask::DeviceCode { .. } => "urn:ietf:params:oauth:grant-type:device_code",
        Ask::Password { .. } => "password",
        Ask::Otp { .. } => "otp",
        Ask::JwtBearer { .. } => "urn:ietf:params:oauth:grant-type:jwt-bearer",
        Ask::SamlBearer { .. } => "urn:ietf:params:oauth:grant-type:saml2-bearer",
        Ask::TokenExchange(_) => "urn:ietf:params:oauth:grant-type:token-exchange",
    }
}

impl Grant {
    /// What servers by the book are asked for; `None` for what they do not know, and for what has to be signed
    /// before it can be asked for.
    pub(super) fn standard(&self) -> Option<Ask<'_>> {
        Some(match self {
            Self::RefreshToken(token) => Ask::RefreshToken(token),
            Self::ClientCredentials => Ask::ClientCredentials,
            Self::AuthorizationCode { code, redirect_uri, code_verifier } => Ask::AuthorizationCode {
                code,
                redirect_uri: redirect_uri.as_deref(),
                code_verifier: code_verifier.as_ref(),
            },
            Self::DeviceCode { device_code } => Ask::DeviceCode { device_code },
            Self::Password { username, password } => Ask::Password { username, password, credtype: None },
            Self::JwtBearer { assertion } => Ask::JwtBearer { assertion },
            Self::SamlBearer { assertion } => Ask::SamlBearer { assertion },
            Self::TokenExchange(given) => Ask::TokenExchange(given),
            Self::CompanyRequestToken { .. } | Self::Otp { .. } | Self::JwtSubject { .. } => return None,
        })
    }

    /// What SAP Concur is asked for; `None` for what it does not know.
    pub(super) fn concur(&self) -> Option<Ask<'_>> {
        Some(match self {
            Self::CompanyRequestToken { company_uuid, request_token } => {
                Ask::Password { username: company_uuid, password: request_token, credtype: Some("authtoken") }
            }
            Self::Password { username, password } => {
                Ask::Password { username, password, credtype: Some("password") }
            }
            Self::Otp { otp, email, parameters } => Ask::Otp { otp, email, parameters },
            Self::RefreshToken(_) | Self::ClientCredentials | Self::AuthorizationCode { .. } => {
                return self.standard();
            }
            Self::DeviceCode { .. }
            | Self::JwtBearer { .. }
            | Self::SamlBearer { .. }
            | Self::JwtSubject { .. }
            | Self::TokenExchange(_) => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::profile::ClientAuth, provider::rig};

    fn written(ask: Option<Ask<'_>>, besides: Besides<'_>) -> String {
        String::from_utf8(Form::token(&ask.unwrap(), besides).into_body()).unwrap()
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text)
    }

    fn exchange_of(actor: Option<(Secret, String)>) -> Grant {
        Grant::TokenExchange(TokenExchange {
            subject_token: secret("s t"),
            subject_token_type: "urn:ietf:params:oauth:token-type:access_token".into(),
            actor,
            requested_token_type: Some("urn:x".into()),
            audiences: vec!["a".into(), "b".into()],
            resources: vec!["https://r.example".into()],
        })
    }

    #[test]
    fn forms_are_written_as_the_standards_say() {
        let code = |redirect_uri, code_verifier| Grant::AuthorizationCode {
            code: secret("c/1"),
            redirect_uri,
            code_verifier,
        };
        let types = "subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token";
        let exchange = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange";
        let rest = "requested_token_type=urn%3Ax&audience=a&audience=b&resource=https%3A%2F%2Fr.example";
        let table = [
            (Grant::RefreshToken(RefreshToken(secret("r&1"))), "grant_type=refresh_token&refresh_token=r%261".to_owned()),
            (Grant::ClientCredentials, "grant_type=client_credentials".into()),
            (
                code(Some("https://b.example/cb?x=1".into()), Some(secret("v~1"))),
                "grant_type=authorization_code&code=c%2F1&redirect_uri=https%3A%2F%2Fb.example%2Fcb%3Fx%3D1&code_verifier=v%7E1".into(),
            ),
            (code(None, None), "grant_type=authorization_code&code=c%2F1".into()),
            (
                Grant::DeviceCode { device_code: secret("d1") },
                "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=d1".into(),
            ),
            (
                Grant::Password { username: "u@x".into(), password: secret("p+w") },
                "grant_type=password&username=u%40x&password=p%2Bw".into(),
            ),
            (
                Grant::JwtBearer { assertion: secret("h.p.s") },
                "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=h.p.s".into(),
            ),
            (
                Grant::SamlBearer { assertion: secret("PHNhbWw-") },
                "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Asaml2-bearer&assertion=PHNhbWw-".into(),
            ),
            (exchange_of(None), format!("{exchange}&subject_token=s+t&{types}&{rest}")),
            (
                exchange_of(Some((secret("a1"), "urn:t".into()))),
                format!("{exchange}&subject_token=s+t&{types}&actor_token=a1&actor_token_type=urn%3At&{rest}"),
            ),
        ];
        for (grant, want) in table {
            assert_eq!(written(grant.standard(), Besides::default()), want);
        }
    }

    #[test]
    fn sap_concur_has_words_of_its_own() {
        let parameters = BTreeMap::from([("company".to_owned(), "C & Co".to_owned())]);
        let table = [
            (
                Grant::CompanyRequestToken { company_uuid: "uuid".into(), request_token: secret("at-1") },
                "grant_type=password&username=uuid&password=at-1&credtype=authtoken",
            ),
            (
                Grant::Password { username: "u".into(), password: secret("p") },
                "grant_type=password&username=u&password=p&credtype=password",
            ),
            (
                Grant::Otp { otp: secret("123456"), email: "a@b.example".into(), parameters },
                "grant_type=otp&otp=123456&channel_type=email&channel_handle=a%40b.example&company=C+%26+Co",
            ),
            (Grant::ClientCredentials, "grant_type=client_credentials"),
        ];
        for (grant, want) in table {
            assert_eq!(written(grant.concur(), Besides::default()), want);
        }
    }

    #[test]
    fn what_a_dialect_does_not_know_is_not_asked_for() {
        let subject = Grant::JwtSubject { subject: "s".into() };
        let otp = Grant::Otp { otp: secret("1"), email: "e".into(), parameters: BTreeMap::new() };
        let company = Grant::CompanyRequestToken { company_uuid: "u".into(), request_token: secret("t") };
        for grant in [&subject, &otp, &company] {
            assert!(grant.standard().is_none());
        }
        let jwt = Grant::JwtBearer { assertion: secret("a") };
        for grant in [&subject, &jwt, &exchange_of(None), &Grant::DeviceCode { device_code: secret("d") }] {
            assert!(grant.concur().is_none());
        }
    }

    #[test]
    fn scopes_and_resources_come_after_the_grant() {
        let scopes = ["a".to_owned(), "b".to_owned()];
        let resources = ["https://r.example/1".to_owned(), "https://r.example/2".to_owned()];
        let parameters = BTreeMap::from([("access_type".to_owned(), "offline".to_owned())]);
        let besides = Besides { scopes: &scopes, resources: &resources, parameters: Some(&parameters) };
        assert_eq!(
            written(Grant::ClientCredentials.standard(), besides),
            "grant_type=client_credentials&resource=https%3A%2F%2Fr.example%2F1&resource=https%3A%2F%2Fr.example%2F2&scope=a+b&access_type=offline"
        );
    }

    #[test]
    fn resources_are_sent_where_the_profile_says_and_its_parameters_always() {
        let (client, grant) = (rig::client(ClientAuth::None, &[]), Grant::ClientCredentials);
        let resources = ["https://r.example".to_owned()];
        for (word, sent) in [("none", 0), ("authorization", 0), ("everywhere", 1)] {
            let lines = format!(
                "token_endpoint = \"https://a.example/t\"\nresource_indicators = \"{word}\"\ntoken_parameters = {{ p = \"1\" }}"
            );
            let profile = rig::profile("generic-oauth2", &lines);
            let exchange = Exchange { resources: &resources, ..rig::ask(&profile, &client, &grant) };
            let written = written(grant.standard(), Besides::from(&exchange));
            assert_eq!(written.matches("resource=").count(), sent, "{word}: {written}");
            assert!(written.ends_with("&p=1"), "{written}");
        }
    }

    #[test]
    fn a_revocation_says_which_token_it_is() {
        let (refresh, access) = (RefreshToken(secret("r")), AccessToken(secret("a")));
        let written = |forget| String::from_utf8(Form::revocation(&forget).into_body()).unwrap();
        assert_eq!(written(Forget::RefreshToken(&refresh)), "token=r&token_type_hint=refresh_token");
        assert_eq!(written(Forget::AccessToken(&access)), "token=a&token_type_hint=access_token");
    }
}
