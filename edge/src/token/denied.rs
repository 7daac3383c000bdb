//! Why a viewer gets nothing of a protected stream.

use http::StatusCode;

/// A request that is not allowed. Its words begin with the reason that is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Denied {
    /// Nothing was shown.
    #[error("token_missing: this stream is protected. Open it by the whole link that you were given")]
    Missing,
    /// What was shown is no token, or one with claims that cannot be read.
    #[error("token_malformed: the link is damaged. Copy the whole of it again, or ask for a new one")]
    Malformed,
    /// `none`, or an algorithm other than the key's own (AUTH-10).
    #[error("token_algorithm: tokens are signed with EdDSA, ES256 or HS256, each by a key made for it")]
    Algorithm,
    /// No key of this name.
    #[error("token_key: this server does not know the key of this token. Ask for a new link")]
    Key,
    /// Not signed by the key.
    #[error("token_signature: the link is damaged or not genuine. Copy the whole of it again")]
    Signature,
    /// Its time is over.
    #[error("token_expired: the link has run out. Ask for a new one")]
    Expired,
    /// Its time has not come.
    #[error("token_early: the link is not valid yet. Try again later, or check the clock of who made it")]
    Early,
    /// It would be valid for longer than a day (AUTH-10).
    #[error("token_lifetime: a token may be valid for 24 hours at most. Ask for a new one")]
    Lifetime,
    /// `iss` is not `edge.access.issuer`.
    #[error("token_issuer: the token is from somebody whose tokens do not count here")]
    Issuer,
    /// `aud` does not name `edge.access.audience`.
    #[error("token_audience: the token is for another server")]
    Audience,
    /// `act` does not name `play`.
    #[error("token_action: the token is not one for watching")]
    Action,
    /// It restricts its viewer in a way that this server cannot check.
    #[error(
        "token_restriction: the token holds a restriction (geo or max_res) that this server cannot check"
    )]
    Restriction,
    /// It is for another stream.
    #[error("token_stream: the link is for another stream")]
    Stream,
    /// It is for another network (AUTH-10).
    #[error("token_address: the link works only in the network that it was made for. Ask for a new one")]
    Address,
    /// It, its viewer or its session is on the revocation list (AUTH-18).
    #[error("token_revoked: access to this stream was withdrawn")]
    Revoked,
    /// Keys or the revocation list could not be loaded since the start.
    #[error("token_unready: this server cannot check tokens yet. Ask again in a moment")]
    Unready,
}

impl Denied {
    /// Metric labels, in the order of the reasons.
    pub(crate) const LABELS: [&'static str; 16] = [
        "token_missing",
        "token_malformed",
        "token_algorithm",
        "token_key",
        "token_signature",
        "token_expired",
        "token_early",
        "token_lifetime",
        "token_issuer",
        "token_audience",
        "token_action",
        "token_restriction",
        "token_stream",
        "token_address",
        "token_revoked",
        "token_unready",
    ];

    /// The metric label.
    pub const fn label(self) -> &'static str {
        Self::LABELS[self as usize]
    }

    /// 401 where another token would help by itself, 403 where this viewer may not (AUTH-16).
    pub fn status(self) -> StatusCode {
        match self {
            Self::Unready => StatusCode::SERVICE_UNAVAILABLE,
            Self::Action | Self::Restriction | Self::Stream | Self::Address | Self::Revoked => {
                StatusCode::FORBIDDEN
            }
            _ => StatusCode::UNAUTHORIZED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_begin_with_the_label() {
        let all = [
            Denied::Missing,
            Denied::Malformed,
            Denied::Algorithm,
            Denied::Key,
            Denied::Signature,
            Denied::Expired,
            Denied::Early,
            Denied::Lifetime,
            Denied::Issuer,
            Denied::Audience,
            Denied::Action,
            Denied::Restriction,
            Denied::Stream,
            Denied::Address,
            Denied::Revoked,
            Denied::Unready,
        ];
        assert_eq!(all.len(), Denied::LABELS.len());
        for denied in all {
            assert!(denied.to_string().starts_with(&format!("{}: ", denied.label())), "{denied:?}");
        }
    }
}
