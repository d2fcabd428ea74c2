//! The format of server-sent events (WHATWG HTML, section 9.2), bytes in and
//! messages out.

/// One message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// Its kind; `message` if the sender named none.
    pub(super) event: String,
    /// The id that it came with.
    pub(super) id: Option<String>,
    /// Its data; `None`: the message only carries the sender's position.
    pub(super) data: Option<String>,
}

/// Collects bytes until they make messages.
#[derive(Debug, Default)]
pub(super) struct Parser {
    /// The start of a line whose end has not come yet. Bytes, because a chunk
    /// may end within a character.
    line: Vec<u8>,
    /// The last byte was a carriage return: a line feed belongs to it.
    after_return: bool,
    event: String,
    id: Option<String>,
    data: Option<String>,
}

impl Parser {
    /// Reads a chunk; returns the messages that end in it.
    pub(super) fn read(&mut self, chunk: &[u8]) -> Vec<Message> {
        let mut messages = Vec::new();
        for &byte in chunk {
            let is_second_half = byte == b'\n' && self.after_return;
            self.after_return = byte == b'\r';
            match byte {
                b'\n' if is_second_half => {}
                b'\n' | b'\r' => messages.extend(self.end_of_line()),
                _ => self.line.push(byte),
            }
        }
        messages
    }

    fn end_of_line(&mut self) -> Option<Message> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return self.end_of_message();
        }
        let line = String::from_utf8_lossy(&line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            // A comment, a field of later times, or a delay before the next
            // connection, which is ours to decide.
            _ => {}
        }
        None
    }

    fn end_of_message(&mut self) -> Option<Message> {
        let event = std::mem::take(&mut self.event);
        let message = Message {
            event: if event.is_empty() {
                "message".to_owned()
            } else {
                event
            },
            id: self.id.take(),
            data: self.data.take(),
        };
        let is_empty = message.id.is_none() && message.data.is_none();
        (!is_empty).then_some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(event: &str, id: Option<&str>, data: Option<&str>) -> Message {
        Message {
            event: event.to_owned(),
            id: id.map(str::to_owned),
            data: data.map(str::to_owned),
        }
    }

    const STREAM: &str = ": hello\r\n\r\nevent: completed\r\nid: 7\r\ndata: {\"ä\":\r\ndata: 1}\r\n\r\n\
                          data:x\nretry: 5\n\nevent: empty\n\nid: 8\n\nevent: odd\rdata\r\rdata: cut off";

    #[test]
    fn messages_are_found_wherever_the_chunks_are_cut() {
        let expected = [
            message("completed", Some("7"), Some("{\"ä\":\n1}")),
            message("message", None, Some("x")),
            message("message", Some("8"), None),
            message("odd", None, Some("")),
        ];
        for size in 1..STREAM.len() {
            let mut parser = Parser::default();
            let messages: Vec<_> = STREAM
                .as_bytes()
                .chunks(size)
                .flat_map(|chunk| parser.read(chunk))
                .collect();
            assert_eq!(messages, expected, "in chunks of {size}");
        }
    }
}
