//! Who can be asked about the workloads of this host; whether those that are switched on answer.

use std::path::Path;

use wiring::layout::Settings;
use wiring::platform_attestors::{self, Seen};

use crate::commands::Context;
use crate::commands::doctor::Finding;

/// Looks at this host.
pub(crate) fn look(context: &Context) -> Vec<Finding> {
    let dir = context.place.dir();
    let settings = Settings::read(&dir.join("aims.toml"));
    let workloads = settings.map(|settings| settings.workloads).unwrap_or_default();
    platform_attestors::look(Path::new("/"), dir, &workloads).iter().map(finding).collect()
}

fn finding(seen: &Seen) -> Finding {
    const CHECK: &str = "workloads";
    let Seen { name, place, is_on, silent } = seen;
    match silent {
        None if *is_on => Finding::ok(CHECK, format!("{name} answers at `{place}`")),
        None => Finding::ok(CHECK, format!("`{place}` answers; `[workloads.{name}]` would ask it")),
        Some(why) => {
            let found = format!("{name} is switched on and does not answer at `{place}`: {why}");
            let todo = format!(
                "start it, or take `[workloads.{name}]` out of aims.toml: until then the node \
                 refuses the processes that it would have to ask about"
            );
            Finding::wrong(CHECK, found, todo)
        }
    }
}
