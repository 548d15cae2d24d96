//! Rich authorization requests (RFC 9396): `authorization_details` as types, checked against the
//! schema of each type, and compared.
//!
//! In scope: the form of the array and of the members that types share, strictness against a
//! [`Schema`], and whether one value asks for no more than another. Not here: which types there
//! are, and who may have what.

use std::collections::{BTreeMap, BTreeSet};

use jose::json;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::parameter::{Fault, Refused, evidence};

/// The parameter, the claim and the member of answers.
pub const NAME: &str = "authorization_details";
/// Bytes of the parameter.
const MAX_BYTES: usize = 16_384;
/// Objects of one value.
const MAX_DETAILS: usize = 16;
/// Values of one member.
const MAX_VALUES: usize = 64;
/// Bytes of one text.
const MAX_TEXT_BYTES: usize = 2_048;
/// What objects and lists are refused by.
const FORM: &str = "RFC 9396 §2";
/// What unknown types, unknown members and wrong values are refused by.
const STRICT: &str = "RFC 9396 §5";

/// The value: at least one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationDetails(Vec<Detail>);

/// One object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    /// `type`.
    pub type_: String,
    /// `locations`: where the resource is.
    pub locations: Option<BTreeSet<String>>,
    /// `actions`: what is to be done there.
    pub actions: Option<BTreeSet<String>>,
    /// `datatypes`: what data is asked for.
    pub datatypes: Option<BTreeSet<String>>,
    /// `identifier`: one resource.
    pub identifier: Option<String>,
    /// `privileges`: which level of access.
    pub privileges: Option<BTreeSet<String>>,
    /// The members of the type's own.
    pub own: Map<String, Value>,
}

impl AuthorizationDetails {
    /// Reads the parameter.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        if text.len() > MAX_BYTES {
            let fault = Fault::TooLong { length: text.len(), max: MAX_BYTES };
            return Err(Refused { name: NAME, fault, rule: FORM });
        }
        // The reader of strict JSON reads objects: the value becomes the one member of one.
        let wrapped = format!("{{\"{NAME}\":{text}}}");
        let mut members: Map<String, Value> =
            json::parse(&wrapped).map_err(|why| Refused::form(NAME, FORM, why))?;
        match (members.remove(NAME), members.is_empty()) {
            (Some(value), true) => Self::of_value(&value),
            _ => Err(Refused::form(NAME, FORM, "not one JSON value")),
        }
    }

    /// Reads a value that is part of a document which was read strictly.
    pub fn of_value(value: &Value) -> Result<Self, Refused> {
        // RFC 9396 §2: "The request parameter authorization_details contains, in JSON notation, an
        // array of objects."
        let form = |what| Refused::form(NAME, FORM, what);
        let values = value.as_array().ok_or_else(|| form("not an array"))?;
        if values.len() > MAX_DETAILS {
            return Err(Refused {
                name: NAME,
                fault: Fault::TooMany { max: MAX_DETAILS },
                rule: FORM,
            });
        }
        if values.is_empty() {
            return Err(form("an array without objects"));
        }
        values.iter().map(Detail::read).collect::<Result<_, _>>().map(Self)
    }

    /// Refuses types that no schema is for, and what the schema of a type does not have.
    pub fn check(&self, schemas: &[Schema]) -> Result<(), Refused> {
        for detail in &self.0 {
            schema(&detail.type_, schemas)?.check(detail)?;
        }
        Ok(())
    }

    /// Whether each object asks for no more than an object of `other`, and each for no more than
    /// one of its own: what was granted once is not had twice. RFC 9396 §6.1: "An AS should not
    /// rely on simple object comparison in most cases".
    pub fn is_within(&self, other: &Self, schemas: &[Schema]) -> bool {
        let fits = |asked: &Detail, had: &Detail| {
            schema(&asked.type_, schemas).is_ok_and(|schema| schema.is_within(asked, had))
        };
        let asked = self.0.iter();
        let fitting: Vec<Vec<usize>> = asked
            .map(|asked| {
                let had = other.0.iter().enumerate();
                had.filter(|(_, had)| fits(asked, had)).map(|(at, _)| at).collect()
            })
            .collect();
        let mut taken: BTreeMap<usize, usize> = BTreeMap::new();
        (0..fitting.len()).all(|asked| place(asked, &fitting, &mut taken, &mut BTreeSet::new()))
    }

    /// The objects.
    pub fn iter(&self) -> impl Iterator<Item = &Detail> {
        self.0.iter()
    }
}

impl Detail {
    fn read(value: &Value) -> Result<Self, Refused> {
        let mut own = value
            .as_object()
            .cloned()
            .ok_or_else(|| Refused::form(NAME, FORM, "an entry that is no object"))?;
        // RFC 9396 §2: "type: An identifier for the authorization details type as a string. [...]
        // This field is REQUIRED."
        let type_ = text(&mut own, "type")?.ok_or(Refused::missing("type", FORM))?;
        Ok(Self {
            type_,
            locations: texts(&mut own, "locations")?,
            actions: texts(&mut own, "actions")?,
            datatypes: texts(&mut own, "datatypes")?,
            identifier: text(&mut own, "identifier")?,
            privileges: texts(&mut own, "privileges")?,
            own,
        })
    }

    fn sets(&self) -> [(&'static str, Option<&BTreeSet<String>>); 4] {
        [
            ("locations", self.locations.as_ref()),
            ("actions", self.actions.as_ref()),
            ("datatypes", self.datatypes.as_ref()),
            ("privileges", self.privileges.as_ref()),
        ]
    }

    /// The object as JSON.
    pub fn to_value(&self) -> Value {
        let mut members = Map::new();
        members.insert("type".to_owned(), Value::from(self.type_.as_str()));
        for (name, values) in self.sets() {
            if let Some(values) = values {
                let values = values.iter().map(|one| Value::from(one.as_str())).collect();
                members.insert(name.to_owned(), Value::Array(values));
            }
        }
        if let Some(identifier) = &self.identifier {
            members.insert("identifier".to_owned(), Value::from(identifier.as_str()));
        }
        members.extend(self.own.clone());
        Value::Object(members)
    }
}

/// What objects of one type look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// `type`.
    pub type_: String,
    /// The members that it has, the shared ones among them.
    pub members: Vec<Member>,
    /// What an object means that lacks a shared member.
    pub absent: Absent,
}

/// One member of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Whether each object has it.
    pub required: bool,
    /// What it holds.
    pub shape: Shape,
}

/// What a member holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A text, one of these if they are told.
    Text(Option<BTreeSet<String>>),
    /// Texts, all of these if they are told.
    Texts(Option<BTreeSet<String>>),
    /// A number.
    Number,
    /// `true` or `false`.
    Truth,
    /// An object or array whose form is somebody else's to check.
    Any,
}

/// What the absence of a shared member means in a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// That nothing of it is asked for: who has it has more.
    Nothing,
    /// That all of it is: who has it has less.
    Everything,
}

impl Schema {
    fn check(&self, detail: &Detail) -> Result<(), Refused> {
        let members = detail.to_value();
        let Some(members) = members.as_object() else { return Ok(()) };
        for (name, value) in members.iter().filter(|(name, _)| *name != "type") {
            // RFC 9396 §5: "is an object of known type but containing unknown fields" or "contains
            // fields of the wrong type for the authorization details type" or "contains fields
            // with invalid values for the authorization details type".
            let unknown = || Refused::value(NAME, STRICT, name);
            let member = self.members.iter().find(|member| member.name == *name);
            if !member.ok_or_else(unknown)?.shape.admits(value) {
                let what = format!("the value of `{}`", evidence(name));
                return Err(Refused::form(NAME, STRICT, what));
            }
        }
        // RFC 9396 §5: "is missing required fields for the authorization details type."
        let missing = |member: &&Member| member.required && !members.contains_key(&member.name);
        match self.members.iter().find(missing) {
            Some(member) => {
                let what = format!("no `{}`", evidence(&member.name));
                Err(Refused::form(NAME, STRICT, what))
            }
            None => Ok(()),
        }
    }

    /// Members of the type's own must be the same: what they mean is not known here.
    fn is_within(&self, asked: &Detail, had: &Detail) -> bool {
        let covers = |asked: Option<&BTreeSet<String>>, had: Option<&BTreeSet<String>>| match (
            asked,
            had,
            self.absent,
        ) {
            (None, None, _) => true,
            (Some(asked), Some(had), _) => asked.is_subset(had),
            (None, Some(_), absent) => absent == Absent::Nothing,
            (Some(_), None, absent) => absent == Absent::Everything,
        };
        let sets = asked.sets().into_iter().zip(had.sets());
        asked.type_ == had.type_
            && had.type_ == self.type_
            && sets.into_iter().all(|((_, asked), (_, had))| covers(asked, had))
            && (asked.identifier == had.identifier
                || (had.identifier.is_none() && self.absent == Absent::Everything))
            && asked.own == had.own
    }
}

impl Shape {
    fn admits(&self, value: &Value) -> bool {
        let one_of = |text: &str, allowed: &Option<BTreeSet<String>>| {
            allowed.as_ref().is_none_or(|allowed| allowed.contains(text))
        };
        match (self, value) {
            (Self::Text(allowed), Value::String(text)) => one_of(text, allowed),
            // An empty list is read as nothing by some, and as everything by others.
            (Self::Texts(allowed), Value::Array(values)) => {
                !values.is_empty()
                    && values
                        .iter()
                        .all(|value| value.as_str().is_some_and(|text| one_of(text, allowed)))
            }
            (Self::Number, Value::Number(_))
            | (Self::Truth, Value::Bool(_))
            | (Self::Any, Value::Array(_) | Value::Object(_)) => true,
            _ => false,
        }
    }
}

impl Serialize for AuthorizationDetails {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Detail::to_value))
    }
}

impl<'de> Deserialize<'de> for AuthorizationDetails {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of_value(&Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Finds an object for `asked` that is free, or whose own can be found another (an augmenting path
/// of bipartite matching). At most as deep as there are objects.
fn place(
    asked: usize,
    fitting: &[Vec<usize>],
    taken: &mut BTreeMap<usize, usize>,
    tried: &mut BTreeSet<usize>,
) -> bool {
    for had in fitting.get(asked).into_iter().flatten() {
        if !tried.insert(*had) {
            continue;
        }
        let before = taken.get(had).copied();
        if before.is_none_or(|other| place(other, fitting, taken, tried)) {
            taken.insert(*had, asked);
            return true;
        }
    }
    false
}

fn schema<'a>(type_: &str, schemas: &'a [Schema]) -> Result<&'a Schema, Refused> {
    // RFC 9396 §5: "The AS MUST refuse to process any unknown authorization details type".
    let found = schemas.iter().find(|schema| schema.type_ == type_);
    found.ok_or_else(|| Refused::value("type", STRICT, type_))
}

fn text(members: &mut Map<String, Value>, name: &'static str) -> Result<Option<String>, Refused> {
    match members.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => bounded(text, name).map(Some),
        Some(_) => Err(Refused::form(name, FORM, "not a string")),
    }
}

fn texts(
    members: &mut Map<String, Value>,
    name: &'static str,
) -> Result<Option<BTreeSet<String>>, Refused> {
    let Some(value) = members.remove(name) else { return Ok(None) };
    let Value::Array(values) = value else {
        return Err(Refused::form(name, FORM, "not an array of strings"));
    };
    if values.len() > MAX_VALUES {
        return Err(Refused { name, fault: Fault::TooMany { max: MAX_VALUES }, rule: FORM });
    }
    let one = |value| match value {
        Value::String(text) => bounded(text, name),
        _ => Err(Refused::form(name, FORM, "not an array of strings")),
    };
    values.into_iter().map(one).collect::<Result<_, _>>().map(Some)
}

fn bounded(text: String, name: &'static str) -> Result<String, Refused> {
    if text.is_empty() || text.len() > MAX_TEXT_BYTES {
        let fault = Fault::TooLong { length: text.len(), max: MAX_TEXT_BYTES };
        return Err(Refused { name, fault, rule: FORM });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9396 §2, figure 2.
    const EXAMPLE: &str = r#"[{"type":"account_information",
        "actions":["list_accounts","read_balances","read_transactions"],
        "locations":["https://example.com/accounts"]},
        {"type":"payment_initiation","actions":["initiate","status","cancel"],
        "locations":["https://example.com/payments"],
        "instructedAmount":{"currency":"EUR","amount":"123.50"},"creditorName":"Merchant A",
        "creditorAccount":{"iban":"DE02100100109307118603"},
        "remittanceInformationUnstructured":"Ref Number Merchant"}]"#;

    fn member(name: &str, required: bool, shape: Shape) -> Member {
        Member { name: name.to_owned(), required, shape }
    }

    fn schemas(absent: Absent) -> Vec<Schema> {
        let of = |values: &[&str]| Some(values.iter().map(|one| (*one).to_owned()).collect());
        let accounts = vec![
            member(
                "actions",
                true,
                Shape::Texts(of(&["list_accounts", "read_balances", "read_transactions"])),
            ),
            member("locations", false, Shape::Texts(None)),
            member("identifier", false, Shape::Text(None)),
            member("limit", false, Shape::Number),
        ];
        let payments = vec![
            member("actions", true, Shape::Texts(None)),
            member("locations", false, Shape::Texts(None)),
            member("instructedAmount", true, Shape::Any),
            member("creditorName", true, Shape::Text(None)),
            member("creditorAccount", true, Shape::Any),
            member("remittanceInformationUnstructured", false, Shape::Text(None)),
        ];
        [("account_information", accounts), ("payment_initiation", payments)]
            .into_iter()
            .map(|(type_, members)| Schema { type_: type_.to_owned(), members, absent })
            .collect()
    }

    fn details(text: &str) -> AuthorizationDetails {
        AuthorizationDetails::parse(text).unwrap()
    }

    /// req: AUTHZ-10 (part)
    #[test]
    fn rfc9396_2_the_example_is_read_and_written() {
        let read = details(EXAMPLE);
        assert_eq!(read.check(&schemas(Absent::Nothing)), Ok(()));
        assert_eq!(read.iter().count(), 2);
        let written = serde_json::to_string(&read).unwrap();
        assert_eq!(details(&written), read);
        assert!(read.is_within(&read, &schemas(Absent::Nothing)));
    }

    #[test]
    fn rfc9396_2_each_form_that_is_refused() {
        let many = format!("[{}]", vec![r#"{"type":"a"}"#; 17].join(","));
        for (text, name) in [
            ("{}", NAME),
            ("[]", NAME),
            ("null", NAME),
            ("[1]", NAME),
            ("[{}]", "type"),
            (r#"[{"type":1}]"#, "type"),
            (r#"[{"type":""}]"#, "type"),
            (r#"[{"type":"a","type":"b"}]"#, NAME),
            (r#"[{"type":"a","actions":"read"}]"#, "actions"),
            (r#"[{"type":"a","actions":[1]}]"#, "actions"),
            (r#"[{"type":"a","identifier":[]}]"#, "identifier"),
            (r#"[{"type":"a"}],"x":[]"#, NAME),
            (r#"[{"type":"a"}]}"#, NAME),
            (&many, NAME),
            (&format!(r#"[{{"type":"{}"}}]"#, "a".repeat(16_384)), NAME),
        ] {
            let refused = AuthorizationDetails::parse(text).unwrap_err();
            assert_eq!((refused.name, refused.rule), (name, FORM), "{text:.60}");
        }
    }

    #[test]
    fn rfc9396_5_what_a_type_does_not_have_is_refused() {
        let whole = r#"[{"type":"account_information","actions":["list_accounts"]}]"#;
        assert_eq!(details(whole).check(&schemas(Absent::Nothing)), Ok(()));
        for (from, to, what) in [
            ("account_information", "account", "`account`"),
            (r#""actions":["list_accounts"]"#, r#""locations":["a"]"#, "no `actions`"),
            (r#"["list_accounts"]"#, "[]", "value of `actions`"),
            ("list_accounts", "delete_accounts", "value of `actions`"),
            ("]}]", r#"],"unknown":1}]"#, "`unknown`"),
            ("]}]", r#"],"datatypes":["a"]}]"#, "`datatypes`"),
            ("]}]", r#"],"limit":"1"}]"#, "value of `limit`"),
        ] {
            let refused = details(&whole.replace(from, to)).check(&schemas(Absent::Nothing));
            let refused = refused.unwrap_err();
            assert_eq!(refused.rule, STRICT, "{to}");
            assert!(refused.to_string().contains(what), "{refused}");
        }
    }

    /// Defect: what was approved once was in one token several times.
    #[test]
    fn rfc9396_6_1_what_was_granted_once_is_not_had_twice() {
        const READ: &str = r#"{"type":"account_information","actions":["list_accounts"]}"#;
        const BOTH: &str =
            r#"{"type":"account_information","actions":["list_accounts","read_balances"]}"#;
        let of = |all: &[&str]| details(&format!("[{}]", all.join(",")));
        for (asked, had, within) in [
            (vec![READ], vec![READ], true),
            (vec![READ, READ], vec![READ], false),
            (vec![READ, READ], vec![READ, READ], true),
            (vec![READ, READ, READ], vec![READ, READ], false),
            // Whichever way they are matched first.
            (vec![READ, BOTH], vec![BOTH, READ], true),
            (vec![READ, BOTH], vec![READ, BOTH], true),
            (vec![BOTH, BOTH], vec![BOTH, READ], false),
        ] {
            let found = of(&asked).is_within(&of(&had), &schemas(Absent::Nothing));
            assert_eq!(found, within, "{asked:?} in {had:?}");
        }
    }

    #[test]
    fn rfc9396_7_less_is_within_more() {
        let of = |more: &str| {
            details(&format!(
                r#"[{{"type":"account_information","actions":["list_accounts"]{more}}}]"#
            ))
        };
        let location = r#","locations":["https://a.example"]"#;
        for (asked, had, nothing, everything) in [
            ("", "", true, true),
            (location, location, true, true),
            (location, "", false, true),
            ("", location, true, false),
            (r#","locations":["https://b.example"]"#, location, false, false),
            (r#","identifier":"1""#, "", false, true),
            ("", r#","identifier":"1""#, false, false),
            (r#","identifier":"1""#, r#","identifier":"2""#, false, false),
            (r#","limit":1"#, r#","limit":2"#, false, false),
            (r#","limit":1"#, "", false, false),
        ] {
            let (asked_one, had_one) = (of(asked), of(had));
            let within = |absent| asked_one.is_within(&had_one, &schemas(absent));
            assert_eq!(within(Absent::Nothing), nothing, "{asked} in {had}");
            assert_eq!(within(Absent::Everything), everything, "{asked} in {had}");
        }
        let wider =
            r#"[{"type":"account_information","actions":["list_accounts","read_balances"]}]"#;
        assert!(!details(wider).is_within(&of(""), &schemas(Absent::Nothing)));
        assert!(of("").is_within(&details(wider), &schemas(Absent::Nothing)));
        assert!(!of("").is_within(&of(""), &[]));
    }
}
