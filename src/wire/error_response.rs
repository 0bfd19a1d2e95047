//! The only place where an [`Error`] becomes bytes.
use super::encode::control;
use crate::error::{Error, Severity};
use bytes::BytesMut;
use pgwire::error::ErrorInfo;
use pgwire::messages::response::{ErrorResponse, NoticeResponse};

/// Appends an ErrorResponse.
pub fn write(error: &Error, out: &mut BytesMut) {
    let severity = match error.severity {
        Severity::Error => "ERROR",
        Severity::Fatal => "FATAL",
    };
    control(&ErrorResponse::from(info(error, severity)), out);
}

/// Appends a NoticeResponse of severity WARNING.
pub(super) fn write_notice(warning: &Error, out: &mut BytesMut) {
    control(&NoticeResponse::from(info(warning, "WARNING")), out);
}

/// Appends a NoticeResponse of severity NOTICE.
pub(super) fn write_information(notice: &Error, out: &mut BytesMut) {
    control(&NoticeResponse::from(info(notice, "NOTICE")), out);
}

fn info(error: &Error, severity: &str) -> ErrorInfo {
    let code = error.code.as_str().to_owned();
    let mut info = ErrorInfo::new(severity.to_owned(), code, without_nul(&error.message));
    // The V field: S is translated by servers, and drivers look at V first.
    info.severity_nonlocalized = Some(severity.to_owned());
    info.detail = error.detail.as_deref().map(without_nul);
    info.hint = error.hint.as_deref().map(without_nul);
    info
}

/// A NUL would end the field and let the rest of the text pass for fields.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Blame, SqlState};
    use crate::wire::frame;
    use crate::wire::server::ErrorFields;
    use proptest::prelude::*;

    #[test]
    fn an_error_is_written_with_every_field_it_has() {
        let error = Error::refused("no", "do that").detail("because");
        let mut out = BytesMut::new();
        write(&error, &mut out);
        assert_eq!(
            &out[..],
            b"E\0\0\0\x30SERROR\0VERROR\0C0A000\0Mno\0Dbecause\0Hdo that\0\0".as_slice()
        );
    }

    #[test]
    fn a_warning_is_a_notice() {
        let mut out = BytesMut::new();
        crate::wire::encode::notice(&Error::client(SqlState(*b"25P01"), "none"), &mut out);
        assert_eq!(out[0], b'N');
        assert_eq!(ErrorFields::read(&out[5..]).unwrap().severity(), "WARNING");
    }

    proptest! {
        #[test]
        fn an_error_survives_the_wire(message: String, detail: Option<String>, fatal: bool) {
            let mut error = Error::client(SqlState::SYNTAX_ERROR, message);
            error.detail = detail;
            if fatal {
                error = error.fatal();
            }
            let mut out = BytesMut::new();
            write(&error, &mut out);
            let whole = frame::scan(&out, usize::MAX).unwrap().unwrap();
            prop_assert_eq!(whole.len, out.len());
            let read = ErrorFields::read(&out[5..]).unwrap().to_error(Blame::Client);
            prop_assert_eq!(read.message, without_nul(&error.message));
            prop_assert_eq!(read.detail, error.detail.as_deref().map(without_nul));
            prop_assert_eq!(read.severity, error.severity);
        }
    }
}
