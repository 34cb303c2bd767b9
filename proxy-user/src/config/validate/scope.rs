//! Where a value stands, and what a refusal of it says.

use clap::ValueEnum;

use crate::config::field::{Field, Syntax};
use crate::config::invalid::Invalid;
use crate::config::value::{OneLine, RawValue};

/// Where a value stands: in a rule of a file, elsewhere in a file, or on a command line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    syntax: Syntax,
    /// The rule's name, if it has one to be told from others by.
    rule: Option<&'a RawValue>,
}

impl<'a> Scope<'a> {
    /// Outside of rules.
    pub fn top(syntax: Syntax) -> Self {
        Self { syntax, rule: None }
    }

    /// In the rule with this name.
    pub fn rule(syntax: Syntax, name: Option<&'a RawValue>) -> Self {
        match syntax {
            Syntax::Flags => Self::top(syntax),
            Syntax::File => Self { syntax, rule: name },
        }
    }

    /// How a value is written here.
    pub fn syntax(self) -> Syntax {
        self.syntax
    }

    /// The field's name.
    pub fn name(self, field: Field) -> String {
        self.syntax.name(field)
    }

    /// How to write a value of the field.
    pub fn write(self, field: Field, value: &str) -> String {
        self.syntax.write(field, value)
    }

    /// Puts the rule before a text about it.
    pub fn of_rule(self, text: String) -> String {
        match self.rule {
            Some(rule) => format!("rule {}: {text}", OneLine(rule)),
            None => text,
        }
    }

    /// Refuses a value, and says what to write instead.
    pub fn refuse(self, field: Field, value: &RawValue, fix: impl Into<String>) -> Invalid {
        Invalid::Value {
            field: self.of_rule(self.name(field)),
            value: value.to_string(),
            fix: fix.into(),
            position: value.position(),
        }
    }

    /// Refuses that there is no value.
    pub fn missing(self, field: Field, fix: impl Into<String>) -> Invalid {
        Invalid::Missing {
            field: self.of_rule(self.name(field)),
            fix: fix.into(),
            position: self.rule.and_then(RawValue::position),
        }
    }

    /// One of a few words.
    pub fn choice<E: ValueEnum>(self, field: Field, value: &RawValue) -> Result<E, Invalid> {
        E::from_str(value, false).map_err(|_| self.refuse(field, value, write_one_of::<E>()))
    }

    /// One of a few words, which has to be written.
    pub fn required_choice<E: ValueEnum>(
        self,
        field: Field,
        value: Option<&RawValue>,
    ) -> Result<E, Invalid> {
        let value = value.ok_or_else(|| self.missing(field, write_one_of::<E>()))?;
        self.choice(field, value)
    }
}

/// `write require, optional or off`.
fn write_one_of<E: ValueEnum>() -> String {
    let values = E::value_variants().iter().filter_map(E::to_possible_value);
    let names: Vec<_> = values.map(|value| value.get_name().to_owned()).collect();
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => {
            format!("write {} or {last}", others.join(", "))
        }
        _ => format!("write {}", names.concat()),
    }
}
