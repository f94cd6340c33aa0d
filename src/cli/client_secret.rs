//! A client's secret on its way to the server: a shared one, a private key, or a certificate with its key.

use super::{
    console::Console,
    failure::Failure,
    secret::{SecretArgs as _, Source, read_text_file, secret_args},
    times::{parse_span, parse_time},
};
use crate::api::{
    CertificateInput, ClientAuthMethod, ClientSecretInput, PrivateKeyInput, SigningAlgorithm,
    client_secret_input::Value,
};
use clap::Args;
use prost_types::Timestamp;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

secret_args! {
    /// Where the shared secret is.
    SharedSecretSource, "client-secret", "client secret"
}

secret_args! {
    /// Where the private key is.
    PrivateKeySource, "private-key", "private key"
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Client secret; without a flag the shared secret is asked for")]
pub(super) struct ClientSecretArgs {
    #[command(flatten)]
    shared: SharedSecretSource,
    #[command(flatten)]
    private_key: PrivateKeySource,
    /// Key id for the header of JWTs that the private key signs
    #[arg(long, value_name = "KID", conflicts_with = "certificate_file")]
    key_id: Option<String>,
    /// File with the certificates in PEM, leaf first; goes with the private key
    #[arg(long, value_name = "FILE")]
    certificate_file: Option<PathBuf>,
    /// The server makes a private key that signs in this way and never gives it out; see `client jwks`
    #[arg(long, value_enum, value_name = "ALGORITHM", conflicts_with_all = ["client-secret-file",
        "client-secret-env", "private-key-file", "private-key-env", "certificate_file", "generate_certificate"])]
    generate_key: Option<SigningAlgorithm>,
    /// The server makes a private key and a self-signed certificate; see `client certificate`
    #[arg(long, conflicts_with_all = ["client-secret-file", "client-secret-env", "private-key-file",
        "private-key-env", "certificate_file", "key_id"])]
    generate_certificate: bool,
    /// How long the certificate that the server makes is good, for example 90d
    #[arg(long, value_name = "SPAN", value_parser = parse_span, requires = "generate_certificate")]
    valid_for: Option<Duration>,
    /// When the secret expires, in RFC 3339
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    secret_expire_time: Option<Timestamp>,
}

/// What the flags and the authentication method come to.
#[derive(Debug, PartialEq, Eq)]
enum Wanted<'a> {
    Nothing,
    Shared,
    PrivateKey,
    Certificate(&'a Path),
    GeneratedKey(SigningAlgorithm),
    GeneratedCertificate,
}

impl ClientSecretArgs {
    /// Reads the secret. `None`: the method needs none.
    pub(super) fn read(
        &self,
        method: Option<ClientAuthMethod>,
        console: &mut Console,
    ) -> Result<Option<ClientSecretInput>, Failure> {
        let value = match self.wanted(method).map_err(|why| Failure::Usage(why.into()))? {
            Wanted::Nothing => return Ok(None),
            Wanted::Shared => Value::SharedSecret(self.shared.read(console)?.expose().to_owned()),
            Wanted::PrivateKey => Value::PrivateKey(PrivateKeyInput {
                private_key_pem: self.private_key.read(console)?.expose().to_owned(),
                key_id: self.key_id.clone().unwrap_or_default(),
                ..PrivateKeyInput::default()
            }),
            Wanted::GeneratedKey(algorithm) => Value::PrivateKey(PrivateKeyInput {
                key_id: self.key_id.clone().unwrap_or_default(),
                algorithm: algorithm.into(),
                generate: true,
                ..PrivateKeyInput::default()
            }),
            Wanted::GeneratedCertificate => Value::Certificate(CertificateInput {
                generate: true,
                valid_for: self.valid_for.and_then(|span| span.try_into().ok()),
                ..CertificateInput::default()
            }),
            Wanted::Certificate(chain) => Value::Certificate(CertificateInput {
                certificate_chain_pem: read_text_file(chain, "certificate")?,
                private_key_pem: self.private_key.read(console)?.expose().to_owned(),
                ..CertificateInput::default()
            }),
        };
        Ok(Some(ClientSecretInput { value: Some(value), expire_time: self.secret_expire_time }))
    }

    fn wanted(&self, method: Option<ClientAuthMethod>) -> Result<Wanted<'_>, &'static str> {
        use ClientAuthMethod as Method;
        if let Some(algorithm) = self.generate_key {
            return Ok(Wanted::GeneratedKey(algorithm));
        }
        if self.generate_certificate {
            return Ok(Wanted::GeneratedCertificate);
        }
        let shared = self.shared.source() != Source::Prompt;
        let key = self.private_key.source() != Source::Prompt;
        match (shared, key, self.certificate_file.as_deref()) {
            (true, true, _) | (true, _, Some(_)) => {
                Err("give either a client secret or a private key, not both")
            }
            (_, false, Some(_)) => {
                Err("a certificate needs its private key: --private-key-file or --private-key-env")
            }
            (true, false, None) => Ok(Wanted::Shared),
            (false, true, None) => Ok(Wanted::PrivateKey),
            (false, true, Some(chain)) => Ok(Wanted::Certificate(chain)),
            // Keys and certificates have many lines: nothing to type at a prompt.
            (false, false, None) => match method.unwrap_or_default() {
                Method::None => Ok(Wanted::Nothing),
                Method::PrivateKeyJwt => {
                    Err("this method needs --generate-key, --private-key-file or --private-key-env")
                }
                Method::TlsClientAuth => Err("this method needs --certificate-file and --private-key-file"),
                Method::SelfSignedTlsClientAuth => Err(
                    "this method needs --generate-certificate, or --certificate-file and --private-key-file",
                ),
                Method::Unspecified
                | Method::ClientSecretBasic
                | Method::ClientSecretPost
                | Method::ClientSecretJwt => Ok(Wanted::Shared),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        secret: ClientSecretArgs,
    }

    #[test]
    fn flags_and_method_decide_what_is_read() {
        use ClientAuthMethod as Method;
        type Case<'a> = (&'a [&'a str], Option<Method>, Result<Wanted<'a>, ()>);
        let cases: &[Case] = &[
            (&[], None, Ok(Wanted::Shared)),
            (&[], Some(Method::ClientSecretPost), Ok(Wanted::Shared)),
            (&[], Some(Method::None), Ok(Wanted::Nothing)),
            (&[], Some(Method::PrivateKeyJwt), Err(())),
            (&[], Some(Method::TlsClientAuth), Err(())),
            (&["--client-secret-file", "f"], None, Ok(Wanted::Shared)),
            (&["--client-secret-env", "V"], None, Ok(Wanted::Shared)),
            (&["--private-key-file", "f"], None, Ok(Wanted::PrivateKey)),
            (
                &["--certificate-file", "c", "--private-key-env", "V"],
                None,
                Ok(Wanted::Certificate(Path::new("c"))),
            ),
            (&["--certificate-file", "c"], None, Err(())),
            (&["--generate-key", "eddsa"], None, Ok(Wanted::GeneratedKey(SigningAlgorithm::Eddsa))),
            (
                &["--generate-certificate", "--valid-for", "90d"],
                Some(Method::SelfSignedTlsClientAuth),
                Ok(Wanted::GeneratedCertificate),
            ),
            (&["--certificate-file", "c", "--client-secret-env", "V"], None, Err(())),
            (&["--client-secret-env", "V", "--private-key-env", "V"], None, Err(())),
        ];
        for (flags, method, want) in cases {
            let line = Line::parse_from([&["x"], *flags].concat());
            assert_eq!(line.secret.wanted(*method).map_err(|_| ()), *want, "{flags:?} {method:?}");
        }
    }
}
