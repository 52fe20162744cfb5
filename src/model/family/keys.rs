//! Typed access to the keys of a JSON object, with errors that name the key.

use std::borrow::Cow;
use std::fmt::Display;

use serde_json::{Map, Value};

use crate::{Error, Result};

/// A JSON object, and how messages call its keys.
pub(super) struct Keys<'a> {
    object: Cow<'a, Map<String, Value>>,
    prefix: String,
    /// A family's own names for keys that most call otherwise.
    own_names: &'static [(&'static str, &'static str)],
}

/// What a key may hold.
pub(super) trait FromJson: Sized {
    const EXPECTED: &'static str;
    fn from_json(value: &Value) -> Option<Self>;
}

/// Every whole number of a description counts something that there must be at least one of.
impl FromJson for u32 {
    const EXPECTED: &'static str = "a whole number from 1 to 4294967295";
    fn from_json(value: &Value) -> Option<Self> {
        value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0)
    }
}

/// A whole number that may be 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whole(pub u32);

impl FromJson for Whole {
    const EXPECTED: &'static str = "a whole number from 0 to 4294967295";
    fn from_json(value: &Value) -> Option<Self> {
        value.as_u64().and_then(|n| u32::try_from(n).ok()).map(Self)
    }
}

impl FromJson for Vec<Whole> {
    const EXPECTED: &'static str = "a list of whole numbers from 0 to 4294967295";
    fn from_json(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(Whole::from_json).collect()
    }
}

/// One value for all layers, or one for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OneOrEach<T> {
    /// For all.
    One(T),
    /// For each.
    Each(Vec<T>),
}

impl FromJson for OneOrEach<Whole> {
    const EXPECTED: &'static str = "a whole number, or a list of them, from 0 to 4294967295";
    fn from_json(value: &Value) -> Option<Self> {
        match value {
            Value::Array(_) => Vec::<Whole>::from_json(value).map(Self::Each),
            _ => Whole::from_json(value).map(Self::One),
        }
    }
}

/// Yes or no, which some files say by a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flag(pub bool);

impl FromJson for Flag {
    const EXPECTED: &'static str = "true, false or a whole number";
    fn from_json(value: &Value) -> Option<Self> {
        value.as_bool().or_else(|| value.as_u64().map(|n| n > 0)).map(Self)
    }
}

impl FromJson for f64 {
    const EXPECTED: &'static str = "a positive number";
    fn from_json(value: &Value) -> Option<Self> {
        value.as_f64().filter(|x| *x > 0.0)
    }
}

/// A number that may be 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct NotNegative(pub f64);

impl FromJson for NotNegative {
    const EXPECTED: &'static str = "a number that is not negative";
    fn from_json(value: &Value) -> Option<Self> {
        value.as_f64().filter(|x| *x >= 0.0).map(Self)
    }
}

impl FromJson for Vec<NotNegative> {
    const EXPECTED: &'static str = "a list of numbers that are not negative";
    fn from_json(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(NotNegative::from_json).collect()
    }
}

impl FromJson for f32 {
    const EXPECTED: &'static str = "a positive number within the range of f32";
    fn from_json(value: &Value) -> Option<Self> {
        value.as_f64().map(|x| x as f32).filter(|x| *x > 0.0 && x.is_finite())
    }
}

impl FromJson for bool {
    const EXPECTED: &'static str = "true or false";
    fn from_json(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}

impl FromJson for String {
    const EXPECTED: &'static str = "a string";
    fn from_json(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl FromJson for Vec<String> {
    const EXPECTED: &'static str = "a list of strings";
    fn from_json(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(String::from_json).collect()
    }
}

impl<'a> Keys<'a> {
    pub fn new(object: &'a Map<String, Value>) -> Self {
        Self { object: Cow::Borrowed(object), prefix: String::new(), own_names: &[] }
    }

    /// The same object in which keys may have a family's own names: pairs of what most call a key and what the family does.
    /// Either is found, the family's first.
    pub fn with_names(&self, own_names: &'static [(&'static str, &'static str)]) -> Keys<'_> {
        Keys { object: Cow::Borrowed(&*self.object), prefix: self.prefix.clone(), own_names }
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.object.get(self.own_name(key))
    }

    /// What the object calls a key, or would.
    fn own_name<'k>(&self, key: &'k str) -> &'k str {
        let own = self.own_names.iter().find(|(usual, _)| *usual == key).map(|(_, own)| *own);
        own.filter(|own| self.object.contains_key(*own) || !self.object.contains_key(key)).unwrap_or(key)
    }

    /// The value of a key that must be there.
    pub fn required<T: FromJson>(&self, key: &str) -> Result<T> {
        match self.get(key) {
            None => Err(self.error(key, T::EXPECTED, "nothing")),
            Some(value) => T::from_json(value).ok_or_else(|| self.error(key, T::EXPECTED, describe(value))),
        }
    }

    /// The value of a key, or `default` if the key is absent.
    pub fn or<T: FromJson>(&self, key: &str, default: T) -> Result<T> {
        if self.get(key).is_some() { self.required(key) } else { Ok(default) }
    }

    /// The value of a key: `default` if the key is absent, none if it is there but null.
    pub fn nullable<T: FromJson>(&self, key: &str, default: Option<T>) -> Result<Option<T>> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Null) => Ok(None),
            Some(_) => self.required(key).map(Some),
        }
    }

    /// The object under a key; none if it is absent or null.
    pub fn child(&self, key: &str) -> Result<Option<Keys<'_>>> {
        match self.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(object)) => {
                let prefix = self.path(key) + ".";
                Ok(Some(Keys { object: Cow::Borrowed(object), prefix, own_names: &[] }))
            }
            Some(other) => Err(self.error(key, "an object", describe(other))),
        }
    }

    /// Whether a key is there, and not null.
    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| !value.is_null())
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.object.is_empty()
    }

    /// All keys but one.
    pub fn without(&self, key: &str) -> Keys<'_> {
        let mut object = self.object.clone().into_owned();
        object.remove(key);
        Keys { object: Cow::Owned(object), prefix: self.prefix.clone(), own_names: self.own_names }
    }

    /// The keys of both; where both have one, its value here.
    pub fn over(self, below: Option<&Keys<'_>>) -> Self {
        let mut object = below.map_or_else(Map::new, |below| below.object.clone().into_owned());
        object.extend(self.object.into_owned());
        Self { object: Cow::Owned(object), prefix: self.prefix, own_names: self.own_names }
    }

    /// Refuses every key but those of a list.
    pub fn known(&self, list: &[&str], why: &str) -> Result<()> {
        match self.object.iter().find(|(key, _)| !list.contains(&key.as_str())) {
            Some((key, value)) => Err(self.unsupported(key, describe(value), why)),
            None => Ok(()),
        }
    }

    /// Refuses a key unless it is absent or null.
    pub fn refuse(&self, key: &str, why: &str) -> Result<()> {
        match self.get(key) {
            None | Some(Value::Null) => Ok(()),
            Some(value) => Err(self.unsupported(key, describe(value), why)),
        }
    }

    /// Refuses every value of a key but one; the key may be absent or null.
    pub fn only<T: FromJson + PartialEq + Display>(&self, key: &str, accepted: T, why: &str) -> Result<()> {
        match self.nullable::<T>(key, None)? {
            Some(value) if value != accepted => Err(self.unsupported(key, value, why)),
            _ => Ok(()),
        }
    }

    /// A value of a key that is understood but not offered.
    pub fn unsupported(&self, key: &str, value: impl Display, why: impl Display) -> Error {
        Error::Unsupported { what: format!("'{}': {value}", self.path(key)), why: why.to_string() }
    }

    /// A value of a key that will not do.
    pub fn error(&self, key: &str, expected: impl Display, found: impl Display) -> Error {
        Error::config(self.path(key), expected, found)
    }

    fn path(&self, key: &str) -> String {
        format!("{}{}", self.prefix, self.own_name(key))
    }
}

/// A value as a message shows it: whole only if it is short.
fn describe(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(_) => "an object".to_owned(),
        other => other.to_string(),
    }
}
