//! Which interfaces' drivers support XDP, as Linux 6.3 and newer say.

use std::collections::BTreeMap;

use netlink_sys::protocols::NETLINK_GENERIC;

use super::dump::{attributes, dump, text};
use crate::sys::fact::{Fact, Unknown};

/// Numbers of `include/uapi/linux/genetlink.h` and `netdev.h`.
const CONTROL: u16 = 16;
const GET_FAMILY: [u8; 4] = [3, 1, 0, 0];
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
const GET_DEVICES: [u8; 4] = [1, 1, 0, 0];
const INDEX: u16 = 1;
const XDP_FEATURES: u16 = 3;
const BASIC: u64 = 1;
/// The command's header, before the attributes.
const HEADER: usize = 4;

/// Interfaces by index, each with whether its driver runs XDP programs.
pub fn native() -> Fact<BTreeMap<u32, bool>> {
    let families = dump(NETLINK_GENERIC, CONTROL, &GET_FAMILY)?;
    let family = families.iter().find_map(|message| family_id(message));
    let Some(family) = family else {
        return Err(Unknown::because("this kernel (before 6.3) does not tell"));
    };
    let devices = dump(NETLINK_GENERIC, family, &GET_DEVICES)?;
    Ok(devices.iter().filter_map(|message| device(message)).collect())
}

fn values(message: &[u8]) -> BTreeMap<u16, &[u8]> {
    attributes(message.get(HEADER..).unwrap_or_default()).collect()
}

/// The id of the family `netdev`, if this is it.
fn family_id(message: &[u8]) -> Option<u16> {
    let attributes = values(message);
    let is_it = text(attributes.get(&FAMILY_NAME)?) == "netdev";
    is_it.then(|| Some(u16::from_ne_bytes(*attributes.get(&FAMILY_ID)?.first_chunk()?)))?
}

fn device(message: &[u8]) -> Option<(u32, bool)> {
    let attributes = values(message);
    let index = u32::from_ne_bytes(*attributes.get(&INDEX)?.first_chunk()?);
    let features = u64::from_ne_bytes(*attributes.get(&XDP_FEATURES)?.first_chunk()?);
    Some((index, features & BASIC != 0))
}
