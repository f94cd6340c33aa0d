//! What must not be printed: secrets in the open, and the sealed bytes they become.

use secrecy::{ExposeSecret, SecretString};
use std::{fmt, marker::PhantomData};
use zeroize::Zeroize as _;

/// Text that only [`expose`](Secret::expose) shows; its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct Secret(SecretString);

/// Sealed bytes of a `T`. Says nothing about the `T` inside.
pub struct Sealed<T> {
    bytes: Box<[u8]>,
    of: PhantomData<fn() -> T>,
}

/// Something that is kept sealed. The type decides the purpose it is sealed for,
/// so that one kind of secret never opens as another.
pub trait Sealable: Sized {
    const PURPOSE: Purpose;
    fn from_secret(secret: Secret) -> Self;
    fn secret(&self) -> &Secret;
}

/// What a sealed value is for; part of what authenticates its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    ClientSecret,
    RefreshToken,
    PreviousRefreshToken,
    AccessToken,
    AuthorizationSecrets,
    DpopKey,
    PagePosition,
    AuditKeyText,
}

macro_rules! sealable {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name(pub Secret);

        impl Sealable for $name {
            const PURPOSE: Purpose = Purpose::$name;

            fn from_secret(secret: Secret) -> Self {
                Self(secret)
            }

            fn secret(&self) -> &Secret {
                &self.0
            }
        }
    )*};
}

sealable! {
    /// RFC 6749 §1.4.
    AccessToken;
    /// RFC 6749 §1.5.
    RefreshToken;
    /// The refresh token that the present one replaced: kept for servers with a grace window.
    PreviousRefreshToken;
    /// RFC 6749 §2.3.1.
    ClientSecret;
    /// What a consent on its way needs when it comes back: PKCE verifier, nonce, device code, parameters of a one-time
    /// password; as JSON.
    AuthorizationSecrets;
    /// RFC 9449: the private key, in PEM, that a connection's tokens are bound to.
    DpopKey;
    /// Where a list goes on: the key of a record that its reader may not see.
    PagePosition;
    /// What the audit trail is authenticated with.
    AuditKeyText;
}

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        let mut value = value.into();
        // What is longer than its text would be moved to fit, and the old place not wiped.
        let exact = Box::<str>::from(value.as_str());
        value.zeroize();
        Self(SecretString::new(exact))
    }

    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }
}

impl<T> Sealed<T> {
    pub fn from_bytes(bytes: impl Into<Box<[u8]>>) -> Self {
        Self { bytes: bytes.into(), of: PhantomData }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl<T> Clone for Sealed<T> {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), of: PhantomData }
    }
}

impl<T> PartialEq for Sealed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl<T> fmt::Debug for Sealed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[sealed, {} bytes]", self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_a_secret_nor_sealed_bytes() {
        let token = AccessToken(Secret::new("canary"));
        let sealed = Sealed::<AccessToken>::from_bytes(*b"canary");
        let shown = format!("{token:?} {sealed:?}");
        assert_eq!(shown, "AccessToken([secret]) [sealed, 6 bytes]");
    }
}
