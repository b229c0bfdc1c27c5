//! TLS by rustls, with the certificate and key that the operator names.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::{Error, Result};

/// Reads a certificate chain and its key, both PEM.
///
/// # Errors
/// [`Error::Read`] for a file that cannot be read, [`Error::Config`] for one that holds something else or does not
/// fit the other.
pub(in crate::server) fn load(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(certificate, error, "PEM certificates"))?;
    if chain.is_empty() {
        return Err(wrong(certificate, "holds no certificate in PEM form".to_owned()));
    }
    let secret =
        PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, error, "a PEM private key"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
        .map_err(|error| wrong(key, format!("does not fit {}: {error}", certificate.display())))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn unusable(path: &Path, error: pem::Error, wanted: &str) -> Error {
    match error {
        pem::Error::Io(source) => Error::Read { path: path.to_owned(), source },
        pem::Error::NoItemsFound => wrong(path, format!("holds no {wanted}")),
        error => wrong(path, format!("is not {wanted}: {error}")),
    }
}

fn wrong(path: &Path, detail: String) -> Error {
    Error::Config { origin: path.display().to_string(), detail }
}
