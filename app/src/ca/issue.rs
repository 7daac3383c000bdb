//! What the certificates say. Pure but for the random bits of keys.

use std::net::IpAddr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

/// How far a node's clock may be behind.
const SKEW: Duration = Duration::from_secs(3_600);

/// A certificate and its key, PEM.
#[derive(Debug)]
pub struct Made {
    /// The certificate.
    pub certificate: String,
    /// Its private key, PKCS #8.
    pub key: String,
}

/// What a node's certificate is to say.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The node.
    pub name: &'a str,
    /// `origin` or `edge`.
    pub role: &'a str,
    /// Names and addresses by which others reach it.
    pub hosts: &'a [String],
    /// For how long.
    pub life: Duration,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// A host that is none.
    #[error("--host {0:?} is neither a host name nor an address; leave the port out")]
    Host(String),
    /// The authority's key cannot be read.
    #[error("the authority's key cannot be read: {0}; it is the ca-key.pem that `aqueduct ca init` made")]
    Key(rcgen::Error),
    /// The library refused.
    #[error("no certificate could be made: {0}")]
    Made(#[from] rcgen::Error),
}

/// Makes an authority that is good from `now` (since 1970) on.
pub fn authority(now: Duration, life: Duration) -> Result<Made, IssueError> {
    let key = KeyPair::generate()?;
    let mut params = authority_params()?;
    valid(&mut params, now, life);
    Ok(made(&params.self_signed(&key)?, &key))
}

/// Makes a node's certificate with the authority's key.
pub fn node(signer: &str, wanted: &Wanted<'_>, now: Duration) -> Result<Made, IssueError> {
    let signer = KeyPair::from_pem(signer).map_err(IssueError::Key)?;
    // Its name and key are all that its certificate gives to those that it signs.
    let issuer = Issuer::new(authority_params()?, signer);
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.push(DnType::CommonName, wanted.name);
    let identity = format!("aqueduct://{}/{}", wanted.role, wanted.name);
    params.subject_alt_names.push(SanType::URI(identity.try_into()?));
    for host in wanted.hosts {
        params.subject_alt_names.push(alternative(host)?);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // A node may be both: a shield reads from an origin and feeds edges.
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    valid(&mut params, now, wanted.life);
    Ok(made(&params.signed_by(&key, &issuer)?, &key))
}

/// The same for every authority, so that its key alone is enough to sign.
fn authority_params() -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.push(DnType::CommonName, "Aqueduct relay authority");
    // It signs nodes, and no further authorities.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn valid(params: &mut CertificateParams, now: Duration, life: Duration) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(SKEW);
    params.not_after = epoch + now + life;
}

fn alternative(host: &str) -> Result<SanType, IssueError> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let label = |label: &str| {
        let inside = |c: char| c.is_ascii_alphanumeric() || c == '-';
        (1..=63).contains(&label.len()) && label.chars().all(inside) && !label.starts_with('-')
    };
    // A name that ends in a number is a mistyped address.
    let numeric = host.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    if host.len() > 253 || numeric || !host.split('.').all(label) {
        return Err(IssueError::Host(host.to_owned()));
    }
    Ok(SanType::DnsName(host.try_into()?))
}

fn made(certificate: &Certificate, key: &KeyPair) -> Made {
    Made { certificate: certificate.pem(), key: key.serialize_pem() }
}
