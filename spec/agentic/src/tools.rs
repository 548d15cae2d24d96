//! The tools in the answer to `tools/list`.

use serde_json::value::RawValue;

use crate::method::Misread;
use crate::{NAME_BYTES_MAX, TOOLS_MAX};

/// A tool as its server describes it.
#[derive(Debug, Clone)]
pub struct ListedTool<'a> {
    pub name: String,
    /// The whole definition as the server wrote it: what is pinned is this text.
    pub definition: &'a RawValue,
}

/// The tools of the `result` of a `tools/list`, in the server's order.
pub fn tools(result: &RawValue) -> Result<Vec<ListedTool<'_>>, Misread> {
    if !json::is_object(result) {
        return Err(Misread::Tools);
    }
    let [Some(listed)] = json::members(result, ["tools"])? else { return Err(Misread::Tools) };
    let listed: Vec<&RawValue> = serde_json::from_str(listed.get()).map_err(|_| Misread::Tools)?;
    if listed.len() > TOOLS_MAX {
        return Err(Misread::TooManyTools { max: TOOLS_MAX });
    }
    listed.into_iter().map(tool).collect()
}

fn tool(definition: &RawValue) -> Result<ListedTool<'_>, Misread> {
    if !json::is_object(definition) {
        return Err(Misread::Tools);
    }
    let [Some(name)] = json::members(definition, ["name"])? else { return Err(Misread::Tools) };
    // MCP 2026-07-28, Tool Names: "Tool names SHOULD be between 1 and 128 characters in length
    // (inclusive)." "Tool names SHOULD be considered case-sensitive."
    let name = json::string(name).filter(|name| name.len() <= NAME_BYTES_MAX);
    Ok(ListedTool { name: name.ok_or(Misread::Tools)?, definition })
}

#[cfg(test)]
mod tests {
    use super::*;
    use json::Unreadable;

    fn names(result: &str) -> Result<Vec<String>, Misread> {
        let raw = RawValue::from_string(result.to_owned()).unwrap();
        Ok(tools(&raw)?.into_iter().map(|tool| tool.name).collect())
    }

    #[test]
    fn mcp_server_tools_are_listed_in_their_order() {
        let result = r#"{"tools":[{"name":"b","inputSchema":{}},{"title":"x","name":"a"}],"n":1}"#;
        assert_eq!(names(result), Ok(vec!["b".into(), "a".into()]));
        assert_eq!(names(r#"{"tools":[]}"#), Ok(vec![]));
        let raw = RawValue::from_string(result.to_owned()).unwrap();
        assert_eq!(tools(&raw).unwrap()[0].definition.get(), r#"{"name":"b","inputSchema":{}}"#);
    }

    #[test]
    fn mcp_server_tools_without_names_are_refused() {
        for wrong in ["[]", "{}", r#"{"tools":{}}"#, r#"{"tools":[1]}"#, r#"{"tools":[{}]}"#] {
            assert_eq!(names(wrong), Err(Misread::Tools), "{wrong}");
        }
        let look_alike = Unreadable::LookAlike { found: "Name".into(), meant: "name" };
        assert_eq!(names(r#"{"tools":[{"Name":"a"}]}"#), Err(Misread::Json(look_alike)));
        let many = format!(r#"{{"tools":[{}1]}}"#, "1,".repeat(TOOLS_MAX));
        assert_eq!(names(&many), Err(Misread::TooManyTools { max: TOOLS_MAX }));
    }
}
