//! Kubernetes objects of a stream of YAML documents, as trees in which every value knows its place.
//!
//! A reader takes fields out of an object; what is left over at the end was not read, and is reported.

use std::fmt;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;

use super::BadDocument;
use crate::config::file::ParseError;
use crate::config::value::Position;

/// A value with its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub value: Value,
    pub position: Position,
}

/// A value, of the kinds that JSON has.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// As it would be written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::<Value>::deserialize(deserializer)?;
        let position = Position { line: referenced.line(), column: referenced.column() };
        Ok(Self { value, position })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyValue;

        impl<'de> Visitor<'de> for AnyValue {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E: Error>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_bool<E: Error>(self, truth: bool) -> Result<Value, E> {
                Ok(Value::Bool(truth))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
                Ok(Value::Number(number.to_string()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
                Ok(Value::Number(number.to_string()))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
                Ok(Value::Number(number.to_string()))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
                Ok(Value::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Value::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Value::Map(entries))
            }
        }

        deserializer.deserialize_any(AnyValue)
    }
}

/// The fields of a map that have not been taken yet.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    /// How the map is reached from the top of its object; empty for the object itself.
    pub path: String,
    pub position: Position,
    /// The document that it is in, in words.
    document: String,
    entries: Vec<(String, Node)>,
}

impl Fields {
    /// Says what is wrong with one of the values.
    pub fn bad(&self, position: Position, message: impl Into<String>) -> BadDocument {
        BadDocument {
            document: self.document.clone(),
            position: Some(position),
            message: message.into(),
        }
    }

    /// The path of a field of this map.
    pub fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Where a field's value stands; the map, if there is none.
    pub fn position_of(&self, key: &str) -> Position {
        self.find(key).map_or(self.position, |node| node.position)
    }

    /// Whether a field is there, and null.
    pub fn is_null(&self, key: &str) -> bool {
        self.find(key).is_some_and(|node| matches!(node.value, Value::Null))
    }

    fn find(&self, key: &str) -> Option<&Node> {
        self.entries.iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    /// Takes a field. One that is null counts as left out, as it does in Kubernetes.
    pub fn take(&mut self, key: &str) -> Option<Node> {
        let index = self.entries.iter().position(|(name, _)| name == key)?;
        let (_, node) = self.entries.remove(index);
        (!matches!(node.value, Value::Null)).then_some(node)
    }

    /// Takes a field that is text.
    pub fn text(&mut self, key: &str) -> Result<Option<String>, BadDocument> {
        match self.take(key) {
            None => Ok(None),
            Some(Node { value: Value::Text(text), .. }) => Ok(Some(text)),
            Some(Node { position, .. }) => {
                Err(self.bad(position, format!("{} is no text", self.path_of(key))))
            }
        }
    }

    /// Takes a field that is text and must not be missing.
    pub fn required(&mut self, key: &str) -> Result<String, BadDocument> {
        self.text(key)?
            .ok_or_else(|| self.bad(self.position, format!("{} is missing", self.path_of(key))))
    }

    /// Takes a field that is true or false.
    pub fn truth(&mut self, key: &str) -> Result<Option<bool>, BadDocument> {
        match self.take(key) {
            None => Ok(None),
            Some(Node { value: Value::Bool(truth), .. }) => Ok(Some(truth)),
            Some(Node { position, .. }) => {
                let path = self.path_of(key);
                Err(self.bad(position, format!("{path} is not valid; write true or false")))
            }
        }
    }

    /// Takes a field that is a map.
    pub fn map(&mut self, key: &str) -> Result<Option<Self>, BadDocument> {
        self.take(key).map(|node| self.enter(self.path_of(key), node)).transpose()
    }

    /// Takes a field that is a list of maps.
    pub fn maps(&mut self, key: &str) -> Result<Vec<Self>, BadDocument> {
        let Some(Node { value, position }) = self.take(key) else { return Ok(Vec::new()) };
        let path = self.path_of(key);
        let Value::List(items) = value else {
            return Err(self.bad(position, format!("{path} is no list")));
        };
        let item = |(index, item)| self.enter(format!("{path}[{index}]"), item);
        items.into_iter().enumerate().map(item).collect()
    }

    /// What was not taken: names and values, in the order of the document.
    pub fn rest(self) -> Vec<(String, Node)> {
        self.entries
    }

    fn enter(&self, path: String, node: Node) -> Result<Self, BadDocument> {
        match node.value {
            Value::Map(entries) => {
                Ok(Self { path, position: node.position, document: self.document.clone(), entries })
            }
            _ => Err(self.bad(node.position, format!("{path} is no map of fields"))),
        }
    }
}

/// An object, with the words for where it is.
#[derive(Debug)]
pub(super) struct Object {
    /// Such as `document 2`, or `document 1, item 3`.
    pub document: String,
    pub kind: String,
    pub fields: Fields,
}

/// The objects of a stream. Those of lists (`kind: List` and the like) are objects of their own.
/// Empty documents are none, and are not counted.
pub(super) fn objects(text: &str) -> Result<Vec<Object>, BadDocument> {
    let mut objects = Vec::new();
    let mut bytes = text.as_bytes();
    for (index, node) in serde_saphyr::read::<_, Node>(&mut bytes).enumerate() {
        let document = format!("document {}", index + 1);
        let node = node.map_err(|error| {
            let ParseError { message, position } = ParseError::from(error);
            BadDocument { document: document.clone(), position, message }
        })?;
        unpack(document, node, &mut objects)?;
    }
    Ok(objects)
}

fn unpack(document: String, node: Node, objects: &mut Vec<Object>) -> Result<(), BadDocument> {
    let Node { value: Value::Map(entries), position } = node else {
        let message = "this is no Kubernetes object: it has no fields".to_owned();
        return Err(BadDocument { document, position: Some(node.position), message });
    };
    let mut fields = Fields { path: String::new(), position, document, entries };
    let kind = fields.required("kind")?;
    if !kind.ends_with("List") {
        objects.push(Object { document: fields.document.clone(), kind, fields });
        return Ok(());
    }
    match fields.take("items") {
        None => Ok(()),
        Some(Node { value: Value::List(items), .. }) => {
            for (index, item) in items.into_iter().enumerate() {
                unpack(format!("{}, item {}", fields.document, index + 1), item, objects)?;
            }
            Ok(())
        }
        Some(Node { position, .. }) => Err(fields.bad(position, "items is no list")),
    }
}
