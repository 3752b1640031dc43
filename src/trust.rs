//! Why a TLS connection came to nothing, in words that name the setting to change.

use std::error::Error as StdError;
use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// What the settings of one server are called.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The address.
    pub address: &'static str,
    /// The file of certificate authorities.
    pub authorities: &'static str,
    /// The client's certificate and its key; nothing where the server gets none.
    pub certificate: Option<&'static str>,
}

/// What was wrong with TLS, if that is what `error` is about.
pub fn explain(error: &(dyn StdError + 'static), settings: &Settings) -> Option<String> {
    let found = find(error)?;
    Some(match found {
        Error::InvalidCertificate(why) => certificate(why, settings),
        Error::AlertReceived(alert) => refused(*alert, settings),
        Error::InvalidMessage(_) => format!(
            "what answers at this port does not speak TLS: look at the scheme and the port in {}",
            settings.address
        ),
        other => format!("TLS failed: {other}"),
    })
}

/// The TLS library's own error, wherever it is in the chain. An I/O error is not the source of what it wraps.
fn find<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<Error>() {
            return Some(found);
        }
        if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref)
            && let Some(found) = find(inner)
        {
            return Some(found);
        }
        next = error.source();
    }
    None
}

fn certificate(why: &CertificateError, settings: &Settings) -> String {
    let Settings { address, authorities, .. } = settings;
    match why {
        // The second: one of the same name, with another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "the server's certificate is of an authority that is not known here: name a file with the authority's \
             certificate in {authorities}"
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => format!(
            "the server's certificate is for another host name: write the name that the certificate has in {address}"
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!(
                "the server's certificate has expired: renew it on the server that {address} names (or put this \
                 machine's clock right)"
            )
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => format!(
            "the server's certificate is not valid yet: put right the clock of this machine, or the certificate of the \
             server that {address} names"
        ),
        other => format!(
            "the server's certificate is not accepted ({other}): look at {authorities} and at the server that {address} \
             names"
        ),
    }
}

fn refused(alert: AlertDescription, settings: &Settings) -> String {
    let Some(certificate) = settings.certificate else {
        let nothing_shared = match alert {
            AlertDescription::HandshakeFailure => {
                "; it may also share no version of TLS or cipher with this program"
            }
            _ => "",
        };
        return format!(
            "the server that {} names ended the TLS handshake ({alert:?}){nothing_shared}; if it wants a client \
             certificate: this program gives it none",
            settings.address
        );
    };
    match alert {
        AlertDescription::CertificateRequired => {
            format!("the server wants a client certificate: name it and its key in {certificate}")
        }
        // The word for either; which one it is only the server's own log says.
        AlertDescription::HandshakeFailure => format!(
            "the server ended the TLS handshake ({alert:?}): either it wants a client certificate (name it and its key in \
             {certificate}), or it shares no version of TLS or cipher with this program (TLS 1.2 and 1.3: look at the \
             server that {} names)",
            settings.address
        ),
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError => {
            format!("the server refuses the client certificate ({alert:?}): look at {certificate}")
        }
        other => format!("the server that {} names ended the TLS handshake: {other:?}", settings.address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Settings =
        Settings { address: "x.url", authorities: "x.ca_file", certificate: Some("x.certificate_file") };

    #[test]
    fn every_refusal_names_the_setting_to_change_however_deep_it_is_wrapped() {
        let bad = |why| Error::InvalidCertificate(why);
        for (error, named) in [
            (bad(CertificateError::UnknownIssuer), "in x.ca_file"),
            (bad(CertificateError::BadSignature), "in x.ca_file"),
            (
                bad(CertificateError::NotValidForName),
                "another host name: write the name that the certificate has in x.url",
            ),
            (bad(CertificateError::Expired), "has expired"),
            (bad(CertificateError::NotValidYet), "not valid yet"),
            (bad(CertificateError::BadEncoding), "look at x.ca_file"),
            (
                Error::AlertReceived(AlertDescription::CertificateRequired),
                "wants a client certificate: name it and its key in x.certificate_file",
            ),
            (
                Error::AlertReceived(AlertDescription::HandshakeFailure),
                "either it wants a client certificate (name it and its key in x.certificate_file), or it shares no \
                 version of TLS or cipher with this program (TLS 1.2 and 1.3: look at the server that x.url names)",
            ),
            (
                Error::AlertReceived(AlertDescription::UnknownCA),
                "refuses the client certificate (UnknownCA): look at x.certificate_file",
            ),
            (
                Error::AlertReceived(AlertDescription::ProtocolVersion),
                "x.url names ended the TLS handshake: ProtocolVersion",
            ),
            (Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType), "does not speak TLS"),
        ] {
            let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error.clone()));
            let told = explain(&wrapped, &ALL).unwrap();
            assert!(told.contains(named), "{told}");
            assert_eq!(explain(&error, &ALL), Some(told));
        }
    }

    #[test]
    fn a_server_that_gets_no_certificate_is_not_told_to_be_given_one() {
        let alert = Error::AlertReceived(AlertDescription::CertificateRequired);
        let told = explain(&alert, &Settings { certificate: None, ..ALL }).unwrap();
        assert!(told.ends_with("this program gives it none") && !told.contains("cipher"), "{told}");
        let alert = Error::AlertReceived(AlertDescription::HandshakeFailure);
        let told = explain(&alert, &Settings { certificate: None, ..ALL }).unwrap();
        assert!(told.contains("no version of TLS or cipher"), "{told}");
        assert!(told.ends_with("this program gives it none"), "{told}");
    }

    #[test]
    fn what_is_not_about_tls_is_left_to_others() {
        assert_eq!(explain(&io::Error::from(io::ErrorKind::ConnectionRefused), &ALL), None);
        assert_eq!(explain(&io::Error::other("rustls"), &ALL), None);
    }
}
