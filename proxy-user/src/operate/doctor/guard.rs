//! Where the guard will stand on an interface, and what is in its place.

use proxy_common::names::GUARD;

use super::Finding;
use crate::config::settings::GuardHook;
use crate::steer::survey::interfaces::Interface;
use crate::steer::survey::programs::XdpProgram;

const CHECK: &str = "guard";

pub fn judge(interface: &Interface, wanted: GuardHook) -> Finding {
    match wanted {
        GuardHook::Auto => Finding::ok(CHECK, by_itself(interface)),
        GuardHook::Tc => Finding::ok(CHECK, "runs in TC, as asked"),
        GuardHook::Generic => in_xdp(interface, "in generic XDP"),
        GuardHook::Native => match &interface.native_xdp {
            Ok(true) => in_xdp(interface, "in its driver"),
            Ok(false) => Finding::fatal(
                CHECK,
                "its driver does not support XDP, and guardHook: native asks for it",
                "write guardHook: auto",
            ),
            Err(unknown) => Finding::unknown(CHECK, "whether its driver supports XDP", unknown),
        },
    }
}

fn by_itself(interface: &Interface) -> String {
    match &interface.native_xdp {
        Ok(true) if !interface.suits_native_xdp => {
            "runs in TC: the driver supports XDP, but is virtual, or has sub-interfaces"
        }
        Ok(true) if others(interface).next().is_some() => {
            "runs in TC: the driver supports XDP, but another program is there"
        }
        Ok(true) => "runs in XDP, in the driver (in TC, if the driver refuses)",
        Ok(false) => "runs in TC: the driver does not support XDP",
        Err(unknown) => {
            return format!("runs in XDP if the driver supports it, which is unknown ({unknown})");
        }
    }
    .to_owned()
}

/// Asked for, so that a start without it is none.
fn in_xdp(interface: &Interface, place: &str) -> Finding {
    if others(interface).next().is_some() {
        return Finding::fatal(
            CHECK,
            format!("is to run {place}, where another program is, and there is room for one only"),
            "write guardHook: auto",
        );
    }
    Finding::ok(CHECK, format!("runs {place}, as asked"))
}

/// What others have there; a program without a name is somebody else's.
fn others(interface: &Interface) -> impl Iterator<Item = &XdpProgram> {
    interface.xdp.iter().filter(|program| program.name.as_deref() != Ok(GUARD))
}
