//! Where a run is looked at.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::scope::Scope;
use crate::address::AdminAddr;
use crate::config::field::field;
use crate::config::invalid::Invalid;
use crate::config::raw::RawAdmin;
use crate::config::settings::Admin;
use crate::config::value::RawValue;

/// A socket's address holds 107 bytes (`sun_path` of unix(7), with a zero), and each instance puts
/// a suffix of its own behind the path.
const MAX_SOCKET_PATH: usize = 90;

pub(super) fn admin(scope: Scope<'_>, raw: &RawAdmin) -> Result<Admin, Invalid> {
    Ok(Admin { socket: socket(scope, &raw.socket)?, http: http(scope, &raw.http)? })
}

fn socket(scope: Scope<'_>, value: &RawValue) -> Result<Option<PathBuf>, Invalid> {
    match &**value {
        "none" => Ok(None),
        path if path.contains(char::is_control) => {
            let fix = "write a path without control characters";
            Err(scope.refuse(field!(admin.socket), value, fix))
        }
        path if path.starts_with('/') && !path.ends_with('/') && path.len() <= MAX_SOCKET_PATH => {
            Ok(Some(path.into()))
        }
        _ => {
            let fix = format!("write an absolute path of at most {MAX_SOCKET_PATH} bytes, or none");
            Err(scope.refuse(field!(admin.socket), value, fix))
        }
    }
}

fn http(scope: Scope<'_>, value: &RawValue) -> Result<Option<AdminAddr>, Invalid> {
    match value.parse::<SocketAddr>() {
        _ if &**value == "none" => Ok(None),
        Ok(address) if address.port() != 0 => Ok(Some(AdminAddr::new(address))),
        _ => {
            let fix = "write an address with a port, such as 127.0.0.1:9478, or none";
            Err(scope.refuse(field!(admin.http), value, fix))
        }
    }
}
