//! A consent on its way, as a part of its connection's record.

use super::{CodecError, bytes_of, needed, uuid, word, wrong};
use crate::{
    clock::Timestamp,
    domain::{
        authorization::{Authorization, Browser, Device, Digest, Way},
        token::Sealed,
    },
    store::record as pb,
};
use pb::authorization as parts;
use std::time::Duration;

pub(super) fn encode(a: &Authorization) -> pb::Authorization {
    let (mut browser, mut device, mut otp) = (None, None, None);
    match &a.way {
        Way::Browser(way) => browser = Some(encode_browser(way)),
        Way::Device(way) => {
            let interval = u64::try_from(way.interval.as_millis()).unwrap_or(u64::MAX);
            device = Some(parts::Device { interval });
        }
        Way::Otp { refused } => otp = Some(parts::Otp { refused: *refused }),
    }
    pb::Authorization {
        id: a.id.as_bytes().to_vec(),
        stage: a.stage.to_string(),
        started_at: a.started_at.0,
        expires_at: a.expires_at.0,
        due: a.due.map(|at| at.0),
        secrets: bytes_of(a.secrets.as_ref()),
        scopes: a.scopes.clone(),
        resources: a.resources.clone(),
        principals: a.principals.to_string(),
        ended_at: a.ended_at.map(|at| at.0),
        fault: a.fault.map(|fault| fault.to_string()),
        code: a.code.clone(),
        correlation_id: a.correlation_id.clone(),
        browser,
        device,
        otp,
    }
}

fn encode_browser(way: &Browser) -> parts::Browser {
    let bytes = |digest: Digest| digest.0.to_vec();
    parts::Browser {
        taker: way.taker.to_string(),
        state: bytes(way.state),
        opener: way.opener.map(bytes),
        cookie: way.cookie.map(bytes),
        redirect_uri: way.redirect_uri.clone(),
        return_uri: way.return_uri.clone(),
        issuer: way.issuer.clone(),
        iss: way.iss.to_string(),
        state_echo: way.state_echo.to_string(),
    }
}

pub(super) fn decode(a: pb::Authorization) -> Result<Authorization, CodecError> {
    let way = match (a.browser, a.device, a.otp) {
        (Some(way), None, None) => Way::Browser(decode_browser(way)?),
        (None, Some(way), None) => Way::Device(Device { interval: Duration::from_millis(way.interval) }),
        (None, None, Some(way)) => Way::Otp { refused: way.refused },
        (None, None, None) => needed("authorization.browser", None)?,
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
            return Err(wrong("authorization", "has more than one way"));
        }
    };
    Ok(Authorization {
        id: uuid("authorization.id", &a.id)?,
        way,
        stage: word("authorization.stage", &a.stage)?,
        started_at: Timestamp(a.started_at),
        expires_at: Timestamp(a.expires_at),
        due: a.due.map(Timestamp),
        secrets: a.secrets.map(Sealed::from_bytes),
        scopes: a.scopes,
        resources: a.resources,
        principals: word("authorization.principals", &a.principals)?,
        ended_at: a.ended_at.map(Timestamp),
        fault: a.fault.map(|fault| word("authorization.fault", &fault)).transpose()?,
        code: a.code,
        correlation_id: a.correlation_id,
    })
}

fn decode_browser(way: parts::Browser) -> Result<Browser, CodecError> {
    Ok(Browser {
        taker: word("authorization.browser.taker", &way.taker)?,
        state: digest("authorization.browser.state", &way.state)?,
        opener: way.opener.map(|bytes| digest("authorization.browser.opener", &bytes)).transpose()?,
        cookie: way.cookie.map(|bytes| digest("authorization.browser.cookie", &bytes)).transpose()?,
        redirect_uri: way.redirect_uri,
        return_uri: way.return_uri,
        issuer: way.issuer,
        iss: word("authorization.browser.iss", &way.iss)?,
        state_echo: word("authorization.browser.state_echo", &way.state_echo)?,
    })
}

fn digest(field: &'static str, bytes: &[u8]) -> Result<Digest, CodecError> {
    bytes.try_into().map(Digest).map_err(|_| wrong(field, "is not 32 bytes"))
}
