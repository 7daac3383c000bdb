//! How frames are written.

use super::super::text::put_name;
use super::super::{Malformed, head};
use super::{Frame, MAX_NAMES, MAX_SUBS, put_millis};

impl Frame {
    pub(super) fn body(&self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        match self {
            Self::Hello { node, token, announce } => {
                put_name(out, node)?;
                out.extend_from_slice(&(token.len() as u16).to_be_bytes());
                out.extend_from_slice(token);
                out.push(u8::from(*announce));
            }
            Self::Welcome { node: name } | Self::Announce { stream: name } => put_name(out, name)?,
            Self::Trail { nodes, depth } => {
                put_names(out, nodes)?;
                out.extend_from_slice(&depth.to_be_bytes());
            }
            Self::Subscribe { sub, stream: name } | Self::Unwant { sub, line: name } => {
                put_sub(out, *sub);
                put_name(out, name)?;
            }
            Self::Unsubscribe { sub } | Self::Absent { sub } => put_sub(out, *sub),
            Self::Want { sub, line, epoch, have } | Self::Gap { sub, line, epoch, gone: have } => {
                put_line(out, *sub, *epoch, line)?;
                have.write(out);
            }
            Self::Demand { sub, demand, viewers } => {
                put_sub(out, *sub);
                out.push(*demand);
                out.extend_from_slice(&viewers.to_be_bytes());
            }
            Self::Stream { sub, epoch, lines } => {
                put_sub(out, *sub);
                out.extend_from_slice(&epoch.to_be_bytes());
                put_names(out, lines)?;
            }
            Self::Sleep { sub, epoch, line, serial, file, demand, hold } => {
                put_line(out, *sub, *epoch, line)?;
                out.extend_from_slice(&serial.to_be_bytes());
                put_name(out, file)?;
                out.push(*demand);
                put_millis(out, *hold);
            }
            Self::Close { sub, epoch, line, serial, linger } => {
                put_line(out, *sub, *epoch, line)?;
                out.extend_from_slice(&serial.to_be_bytes());
                put_millis(out, *linger);
            }
            Self::End { sub, epoch, linger, finals } => {
                put_sub(out, *sub);
                out.extend_from_slice(&epoch.to_be_bytes());
                put_millis(out, *linger);
                out.extend_from_slice(&(finals.len() as u16).to_be_bytes());
                for (line, serial) in finals {
                    put_name(out, line)?;
                    out.extend_from_slice(&serial.to_be_bytes());
                }
            }
            Self::GoAway | Self::Lends => {}
            Self::Fetch { stream, line, file, hops } => {
                put_name(out, stream)?;
                put_name(out, line)?;
                put_name(out, file)?;
                out.push(*hops);
            }
            Self::Lent { kind, content_type, len } => {
                out.push(head::media_code(*kind));
                out.push(head::type_code(*content_type));
                out.extend_from_slice(&len.to_be_bytes());
            }
            Self::Missing { gone } => out.push(u8::from(*gone)),
            Self::Progress { subs } => {
                let subs = &subs[..subs.len().min(MAX_SUBS)];
                out.extend_from_slice(&(subs.len() as u16).to_be_bytes());
                subs.iter().for_each(|sub| put_sub(out, *sub));
            }
            Self::Ping { number } | Self::Pong { number } => out.extend_from_slice(&number.to_be_bytes()),
        }
        Ok(())
    }
}

fn put_sub(out: &mut Vec<u8>, sub: u32) {
    out.extend_from_slice(&sub.to_be_bytes());
}

fn put_line(out: &mut Vec<u8>, sub: u32, epoch: u64, line: &str) -> Result<(), Malformed> {
    put_sub(out, sub);
    out.extend_from_slice(&epoch.to_be_bytes());
    put_name(out, line)
}

fn put_names(out: &mut Vec<u8>, names: &[String]) -> Result<(), Malformed> {
    let names = &names[..names.len().min(MAX_NAMES)];
    out.extend_from_slice(&(names.len() as u16).to_be_bytes());
    names.iter().try_for_each(|name| put_name(out, name))
}
