//! Where traces go, and how many of them.

use super::{Files, gather::Settings};
use std::path::PathBuf;
use url::Url;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracing {
    /// `https`, or `http` to this machine; without a path.
    pub endpoint: Url,
    /// PEM.
    pub ca: Option<String>,
    /// Of the traces that begin here.
    pub sample_one_in: u32,
}

const ENDPOINT: &str = "tracing.otlp_endpoint";
const CA_FILE: &str = "tracing.ca_file";

impl Settings {
    pub(super) fn tracing(&mut self, files: &dyn Files) -> Option<Tracing> {
        let (endpoint, ca) = (self.optional::<Url>(ENDPOINT), self.optional::<PathBuf>(CA_FILE));
        if !self.sound(&[ENDPOINT, CA_FILE]) {
            return None;
        }
        let plain = endpoint.as_ref().is_none_or(|endpoint| endpoint.scheme() != "https");
        if endpoint.as_ref().is_some_and(|endpoint| endpoint.path() != "/") {
            self.object(
                ENDPOINT,
                "has a path",
                "write scheme, host and port only: OTLP over gRPC has no paths",
            );
        }
        let ca = match ca {
            Some(_) if plain => {
                let problem = format!("has no effect: `{ENDPOINT}` is no https address");
                self.object(CA_FILE, problem, format!("remove it, or write https:// in {ENDPOINT}"));
                None
            }
            Some(path) => Some(self.certificates(CA_FILE, &path, files)?),
            None => None,
        };
        Some(Tracing { endpoint: endpoint?, ca, sample_one_in: self.get("tracing.sample_one_in") })
    }
}
