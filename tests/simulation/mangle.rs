//! Replies that are not what they should be. Each change is one that a client can notice: a server
//! that lies well is believed.

use crate::faults::Fault;
use crate::random::Random;
use crate::server::Reply;
use crate::world::End;
use redis::Value;

/// Spoils the replies to one packet, of which there is at least one, and so many of the last about copies;
/// `strange` is what no other reply to it can be.
/// Says how they end.
pub(crate) fn mangle(
    replies: &mut Vec<Reply>,
    fault: Fault,
    is_look_up: bool,
    questions: usize,
    strange: &Value,
    random: &mut Random,
) -> End {
    let at = random.below(replies.len());
    let is_about_copies = at + questions >= replies.len();
    let mut end = End::Open;
    match fault {
        Fault::StrangeReply => match &mut replies[at] {
            Reply::Many(_, results) if random.is(70) && !results.is_empty() => {
                let at = random.below(results.len());
                results[at] = strange.clone();
            }
            // Another number of copies would be a good lie.
            reply if is_about_copies => *reply = Reply::One(Value::Okay),
            reply => *reply = Reply::One(strange.clone()),
        },
        // A look-up's replies are all of one kind: nobody could tell that they are shifted.
        Fault::MiscountedReplies if is_look_up || random.is(50) => {
            replies.remove(at);
            end = End::TimedOut;
        }
        Fault::MiscountedReplies => replies.insert(at, replies[at].clone()),
        Fault::WrongLength => {
            let arrays = replies.iter_mut().filter_map(|reply| match reply {
                Reply::Many(length, results) => Some((length, results)),
                Reply::One(_) => None,
            });
            for (length, results) in arrays {
                let at = random.below(results.len().max(1));
                match random.below(4) {
                    0 => *length += 1,
                    1 => *length = length.saturating_sub(1),
                    2 if at < results.len() => {
                        results.remove(at);
                        *length -= usize::from(random.is(50));
                    }
                    _ => {
                        results.insert(at, Value::Int(1));
                        *length += usize::from(random.is(50));
                    }
                }
            }
        }
        _ => {
            replies.truncate(at);
            end = End::Garbage;
        }
    }
    end
}
