//! Filters on clsact, and the qdisc itself.
//!
//! A filter's priority and handle can be reused by anybody as soon as they are free. So a filter to be
//! removed is looked up right before, by the program that it runs.

use anyhow::{Context as _, Result, anyhow};
use aya::programs::TcAttachType;
use futures_util::TryStreamExt as _;
use futures_util::stream::StreamExt as _;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{
    TcAttribute, TcFilterBpfOption, TcHandle, TcHeader, TcMessage, TcOption,
};
use nix::errno::Errno;
use rtnetlink::Handle;
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};

use super::{Link, is_refusal, links, refusal, run};

/// A filter on clsact, whoever made it.
#[derive(Clone, Debug)]
pub struct Filter {
    header: TcHeader,
    /// Its direction.
    pub direction: TcAttachType,
    /// Its kind.
    pub kind: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// The id of the program that it runs.
    pub program: Option<u32>,
}

impl Filter {
    /// `None` for a classifier without filters, which is listed as well, and has no handle.
    fn read(direction: TcAttachType, message: TcMessage) -> Option<Self> {
        let handle = message.header.handle;
        if handle == TcHandle::UNSPEC {
            return None;
        }
        let (mut kind, mut name, mut program) = (None, None, None);
        for attribute in message.attributes {
            match attribute {
                TcAttribute::Kind(text) => kind = Some(text),
                TcAttribute::Options(options) => {
                    for option in options {
                        match option {
                            TcOption::Bpf(TcFilterBpfOption::ProgName(text)) => name = Some(text),
                            TcOption::Bpf(TcFilterBpfOption::ProgId(id)) => program = Some(id),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        Some(Self { header: message.header, direction, kind, name, program })
    }

    /// Its priority. Lower ones come first.
    pub fn priority(&self) -> u16 {
        u16::try_from(self.header.info >> 16).unwrap_or(u16::MAX)
    }
}

/// An interface index as the kernel's TC messages have it.
fn signed(index: u32) -> Result<i32> {
    i32::try_from(index).context("an interface index above 2^31")
}

/// The filters on a link's clsact, of either direction in the order in which packets meet them.
pub async fn filters(handle: &Handle, index: u32) -> Result<Vec<Filter>> {
    let index = signed(index)?;
    let ingress: Vec<_> =
        handle.traffic_filter(index).get().ingress().execute().try_collect().await?;
    let egress: Vec<_> =
        handle.traffic_filter(index).get().egress().execute().try_collect().await?;
    let read = |direction| move |message| Filter::read(direction, message);
    let ingress = ingress.into_iter().filter_map(read(TcAttachType::Ingress));
    let egress = egress.into_iter().filter_map(read(TcAttachType::Egress));
    let mut filters: Vec<_> = ingress.chain(egress).collect();
    // The kernel lists those of one priority in the order in which it runs them.
    filters.sort_by_key(Filter::priority);
    Ok(filters)
}

/// [`filters`] on a connection of its own.
pub fn filters_on(index: u32) -> Result<Vec<Filter>> {
    run(async |handle| filters(&handle, index).await)
}

/// Removes the filters on a link that are meant; returns whether there were any.
pub fn remove_filters(index: u32, is_meant: impl Fn(&Filter) -> bool + Sync) -> Result<bool> {
    run(async |handle| {
        let mut meant = filters(&handle, index).await?;
        meant.retain(|filter| is_meant(filter));
        for filter in &meant {
            remove(&handle, filter).await?;
        }
        Ok(!meant.is_empty())
    })
}

async fn remove(handle: &Handle, filter: &Filter) -> Result<()> {
    let message = TcMessage::from_parts(filter.header.clone(), Vec::new());
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::DelTrafficFilter(message));
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK;
    let mut answers = handle.clone().request(request).map_err(refusal)?;
    while let Some(answer) = answers.next().await {
        if let NetlinkPayload::Error(error) = answer.payload
            && error.code.is_some()
        {
            return Err(anyhow!(error.to_io()).context("cannot remove a filter"));
        }
    }
    Ok(())
}

/// The links of the process's own namespace that have a filter on their clsact.
pub fn links_with_filters() -> Result<Vec<Link>> {
    run(async |handle| {
        let mut filtered = Vec::new();
        for link in links(&handle).await? {
            if has_filter(&handle, link.index).await? {
                filtered.push(link);
            }
        }
        Ok(filtered)
    })
}

async fn has_filter(handle: &Handle, index: u32) -> Result<bool> {
    let index = signed(index)?;
    let mut ingress = handle.traffic_filter(index).get().ingress().execute();
    if ingress.try_next().await?.is_some() {
        return Ok(true);
    }
    let mut egress = handle.traffic_filter(index).get().egress().execute();
    Ok(egress.try_next().await?.is_some())
}

/// Removes a link's clsact qdisc, unless anybody has a filter there; returns whether it is gone.
pub async fn remove_unused_clsact(handle: &Handle, index: u32) -> Result<bool> {
    // A link that is gone has no filters.
    if has_filter(handle, index).await? {
        return Ok(false);
    }
    let mut request = handle.qdisc().del(signed(index)?);
    let message = request.message_mut();
    message.header.parent = TcHandle::CLSACT;
    message.attributes.push(TcAttribute::Kind("clsact".to_owned()));
    match request.execute().await {
        // There is no such qdisc.
        Err(error) if is_refusal(&error, &[Errno::EINVAL, Errno::ENOENT, Errno::ENODEV]) => {
            Ok(true)
        }
        result => result.map(|()| true).map_err(refusal),
    }
}
