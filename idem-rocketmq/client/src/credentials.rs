//! Keys for brokers with access control.

use std::fmt;

use rocketmq_client_rust::{AclClientRPCHook, SessionCredentials};

/// An access key and its secret. `Debug` shows neither.
#[derive(Clone)]
pub struct Credentials {
    pub access_key: String,
    pub secret_key: String,
    pub security_token: Option<String>,
}

impl Credentials {
    /// An access key with its secret.
    pub fn new(access_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        Self { access_key: access_key.into(), secret_key: secret_key.into(), security_token: None }
    }

    /// Adds the token of temporary credentials.
    #[must_use]
    pub fn security_token(mut self, token: impl Into<String>) -> Self {
        self.security_token = Some(token.into());
        self
    }

    /// Signs requests.
    pub(crate) fn hook(&self) -> AclClientRPCHook {
        let (access, secret) = (self.access_key.clone(), self.secret_key.clone());
        AclClientRPCHook::new(match &self.security_token {
            Some(token) => SessionCredentials::with_token(access, secret, token.clone()),
            None => SessionCredentials::with_keys(access, secret),
        })
    }
}

/// Which part is empty: the client signs with whatever it is given, and a broker then refuses it without a word.
pub fn check_credentials(credentials: &Credentials) -> Option<&'static str> {
    let parts = [
        ("access key", Some(&credentials.access_key)),
        ("secret key", Some(&credentials.secret_key)),
        ("security token", credentials.security_token.as_ref()),
    ];
    let is_blank = |part: Option<&String>| part.is_some_and(|part| part.trim().is_empty());
    parts.into_iter().find(|(_, part)| is_blank(*part)).map(|(what, _)| what)
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(redacted)")
    }
}
