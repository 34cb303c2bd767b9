//! Sending bytes over a Unix socket, together with an open file (`SCM_RIGHTS`).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Sends bytes, and the file along with the first of them; returns how many bytes were sent.
pub fn send(socket: impl AsFd, bytes: &[u8], file: Option<BorrowedFd<'_>>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if file.is_some() && !control.push(SendAncillaryMessage::ScmRights(file.as_slice())) {
        return Err(io::Error::other("no room for a file"));
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}

/// Receives bytes, and the file that came with them, if any. Of several files, all but one are closed.
pub fn receive(socket: impl AsFd, bytes: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [IoSliceMut::new(bytes)];
    let received = recvmsg(socket, &mut bytes, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let files = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => files.last(),
        _ => None,
    });
    Ok((received.bytes, files.last()))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read as _, Seek as _, Write as _};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_file_comes_with_the_first_bytes() {
        let (left, right) = UnixStream::pair().unwrap();
        let mut scratch = tempfile::tempfile().unwrap();
        scratch.write_all(b"content").unwrap();
        scratch.rewind().unwrap();
        assert_eq!(send(&left, b"here", Some(scratch.as_fd())).unwrap(), 4);
        let mut bytes = [0; 16];
        let (length, file) = receive(&right, &mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"here");
        let mut content = String::new();
        File::from(file.unwrap()).read_to_string(&mut content).unwrap();
        assert_eq!(content, "content");
        send(&left, b"no file", None).unwrap();
        assert!(receive(&right, &mut bytes).unwrap().1.is_none());
        drop(left);
        assert_eq!(receive(&right, &mut bytes).unwrap().0, 0);
    }
}
