//! Options whose value is one of a few words.

use std::ffi::OsStr;
use std::marker::PhantomData;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Command, ValueEnum};

use crate::config::value::RawValue;

/// A flag that takes one of these words. Help and shell completion list them; a word that is none of them
/// is left for validation to refuse, as it would be in a file.
pub fn choice<E: ValueEnum>() -> Choice<E> {
    Choice(PhantomData)
}

/// See [`choice`].
#[derive(Clone, Debug)]
pub struct Choice<E>(PhantomData<E>);

impl<E: ValueEnum + Send + Sync + 'static> TypedValueParser for Choice<E> {
    type Value = RawValue;

    fn parse_ref(
        &self,
        command: &Command,
        flag: Option<&Arg>,
        value: &OsStr,
    ) -> Result<RawValue, clap::Error> {
        StringValueParser::new().parse_ref(command, flag, value).map(RawValue::from)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(E::value_variants().iter().filter_map(E::to_possible_value)))
    }
}

/// Whether something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, schemars::JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
#[allow(missing_docs, reason = "the words say it")]
pub enum OnOff {
    On,
    Off,
}
