//! The types of `authorization_details` that a resource knows (RFC 9396 §2).

use std::collections::BTreeSet;

use oauth::authorization_details::{Absent, Member, Schema, Shape};
use serde::{Deserialize, Serialize};

/// One type of `authorization_details`: a table of `[[authorization_details]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetailType {
    /// `type`.
    #[serde(rename = "type")]
    pub type_: String,
    /// What it means that a member is not there.
    #[serde(default)]
    pub absent: AbsentMeans,
    /// Its members.
    #[serde(default, rename = "member")]
    pub members: Vec<DetailMember>,
}

/// What it means that a shared member is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AbsentMeans {
    /// Nothing of it.
    #[default]
    Nothing,
    /// All of it.
    Everything,
}

/// One member of a type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetailMember {
    /// Its name.
    pub name: String,
    /// Whether each object has it.
    #[serde(default)]
    pub required: bool,
    /// What it holds.
    pub shape: MemberShape,
    /// For texts: those that there are; any, where none is listed.
    #[serde(default)]
    pub values: BTreeSet<String>,
}

/// What a member holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberShape {
    /// A text.
    Text,
    /// A list of texts.
    Texts,
    /// A number.
    Number,
    /// `true` or `false`.
    Truth,
    /// An object or a list of any form.
    Any,
}

impl DetailType {
    /// The type as requests are held against it.
    pub fn schema(&self) -> Schema {
        let absent = match self.absent {
            AbsentMeans::Nothing => Absent::Nothing,
            AbsentMeans::Everything => Absent::Everything,
        };
        let members = self.members.iter().map(DetailMember::member).collect();
        Schema { type_: self.type_.clone(), members, absent }
    }
}

impl DetailMember {
    fn member(&self) -> Member {
        let values = (!self.values.is_empty()).then(|| self.values.clone());
        let shape = match self.shape {
            MemberShape::Text => Shape::Text(values),
            MemberShape::Texts => Shape::Texts(values),
            MemberShape::Number => Shape::Number,
            MemberShape::Truth => Shape::Truth,
            MemberShape::Any => Shape::Any,
        };
        Member { name: self.name.clone(), required: self.required, shape }
    }
}
