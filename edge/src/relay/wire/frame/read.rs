//! How frames are read.

use super::super::ranges::Ranges;
use super::super::text::Fields;
use super::super::{Malformed, head};
use super::{Frame, MAX_NAMES, MAX_SUBS, MAX_TOKEN, millis};

impl Frame {
    /// Reads the body of a frame; `None` for a type that this version does not know.
    pub(super) fn read(code: u8, body: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut fields = Fields(body);
        let fields = &mut fields;
        Ok(Some(match code {
            1 => {
                let node = fields.step()?.to_owned();
                let length = usize::from(fields.u16()?);
                if length > MAX_TOKEN {
                    return Err(Malformed::TooLong("a token"));
                }
                let token = fields.take(length)?.to_vec();
                Self::Hello { node, token, announce: fields.flag("announce")? }
            }
            2 => Self::Welcome { node: fields.step()?.to_owned() },
            3 => Self::Trail { nodes: names(fields)?, depth: fields.u16()? },
            4 => Self::Subscribe { sub: fields.u32()?, stream: fields.name()?.to_owned() },
            5 => Self::Unsubscribe { sub: fields.u32()? },
            6 => {
                let (sub, epoch, line) = line(fields)?;
                Self::Want { sub, line, epoch, have: Ranges::read(fields)? }
            }
            7 => Self::Unwant { sub: fields.u32()?, line: fields.name()?.to_owned() },
            8 => Self::Demand { sub: fields.u32()?, demand: fields.u8()?, viewers: fields.u32()? },
            9 => Self::Stream { sub: fields.u32()?, epoch: fields.u64()?, lines: names(fields)? },
            10 => Self::Absent { sub: fields.u32()? },
            11 => {
                let (sub, epoch, line) = line(fields)?;
                Self::Gap { sub, epoch, line, gone: Ranges::read(fields)? }
            }
            12 | 13 => return Self::read_state(code, fields).map(Some),
            14 => Self::read_end(fields)?,
            15 => Self::Announce { stream: fields.name()?.to_owned() },
            16 => Self::GoAway,
            17 => Self::Ping { number: fields.u64()? },
            18 => Self::Pong { number: fields.u64()? },
            19 => Self::Lends,
            20 => {
                let (stream, line) = (fields.name()?.to_owned(), fields.name()?.to_owned());
                Self::Fetch { stream, line, file: fields.step()?.to_owned(), hops: fields.u8()? }
            }
            21 => {
                let (kind, content_type) =
                    (head::media_kind(fields.u8()?)?, head::content_type(fields.u8()?)?);
                Self::Lent { kind, content_type, len: fields.u32()? }
            }
            22 => Self::Missing { gone: fields.flag("gone")? },
            23 => {
                let count = usize::from(fields.u16()?);
                if count > MAX_SUBS {
                    return Err(Malformed::TooLong("a list of subscriptions"));
                }
                Self::Progress { subs: (0..count).map(|_| fields.u32()).collect::<Result<_, _>>()? }
            }
            _ => return Ok(None),
        }))
    }

    fn read_state(code: u8, fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let (sub, epoch, line) = line(fields)?;
        let serial = fields.number()?;
        if code == 13 {
            return Ok(Self::Close { sub, epoch, line, serial, linger: millis(fields)? });
        }
        let file = fields.step()?.to_owned();
        Ok(Self::Sleep { sub, epoch, line, serial, file, demand: fields.u8()?, hold: millis(fields)? })
    }

    fn read_end(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let (sub, epoch, linger) = (fields.u32()?, fields.u64()?, millis(fields)?);
        let count = usize::from(fields.u16()?);
        if count > MAX_NAMES {
            return Err(Malformed::TooLong("a list of lines"));
        }
        let mut finals = Vec::new();
        for _ in 0..count {
            finals.push((fields.name()?.to_owned(), fields.u64()?));
        }
        Ok(Self::End { sub, epoch, linger, finals })
    }
}

fn line(fields: &mut Fields<'_>) -> Result<(u32, u64, String), Malformed> {
    Ok((fields.u32()?, fields.u64()?, fields.name()?.to_owned()))
}

fn names(fields: &mut Fields<'_>) -> Result<Vec<String>, Malformed> {
    let count = usize::from(fields.u16()?);
    if count > MAX_NAMES {
        return Err(Malformed::TooLong("a list of names"));
    }
    (0..count).map(|_| fields.name().map(str::to_owned)).collect()
}
