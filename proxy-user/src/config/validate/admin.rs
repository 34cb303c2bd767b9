//! Where a run is looked at.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::Invalid;
use crate::address::AdminAddr;
use crate::config::field::{self, At};
use crate::config::raw::RawAdmin;
use crate::config::settings::Admin;
use crate::config::word::Word;

/// A socket's address holds 107 bytes (`sun_path` of unix(7), with a zero), and each instance puts
/// a suffix of its own behind the path.
const MAX_SOCKET_PATH: usize = 90;

pub(super) fn admin(at: At<'_>, raw: &RawAdmin) -> Result<Admin, Invalid> {
    Ok(Admin { socket: socket(at, &raw.socket)?, http: http(at, &raw.http)? })
}

fn socket(at: At<'_>, word: &Word) -> Result<Option<PathBuf>, Invalid> {
    match &**word {
        "none" => Ok(None),
        path if path.contains(char::is_control) => {
            let fix = "write a path without control characters";
            Err(at.refuse(field::ADMIN_SOCKET, word, fix))
        }
        path if path.starts_with('/') && !path.ends_with('/') && path.len() <= MAX_SOCKET_PATH => {
            Ok(Some(path.into()))
        }
        _ => {
            let fix = format!("write an absolute path of at most {MAX_SOCKET_PATH} bytes, or none");
            Err(at.refuse(field::ADMIN_SOCKET, word, fix))
        }
    }
}

fn http(at: At<'_>, word: &Word) -> Result<Option<AdminAddr>, Invalid> {
    match word.parse::<SocketAddr>() {
        _ if &**word == "none" => Ok(None),
        Ok(address) if address.port() != 0 => Ok(Some(AdminAddr::new(address))),
        _ => {
            let fix = "write an address with a port, such as 127.0.0.1:9478, or none";
            Err(at.refuse(field::ADMIN_HTTP, word, fix))
        }
    }
}
