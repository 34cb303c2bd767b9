//! How a [`Steering`] stands, in words for a person.

use super::{Role, Steering};

impl Steering {
    /// How it is attached, one fact a line, for a person to read.
    pub fn describe(&self) -> Vec<String> {
        let mut lines = vec![
            format!("steering  {} ({} ingress)", self.names(Role::Protected), self.plan.hook),
            format!("through   {} into a private network namespace", self.namespace.veth_name()),
            format!("maps      {}", self.instance.folder().display()),
        ];
        if self.attachments.values().any(|attachment| attachment.role == Role::Upstream) {
            lines.insert(1, format!("upstreams answer by {}", self.names(Role::Upstream)));
        }
        let guards = self.attachments.values().filter_map(|attachment| {
            Some(format!("{} ({})", attachment.interface, attachment.guard?.describe()))
        });
        let guards = guards.collect::<Vec<_>>().join(", ");
        if !guards.is_empty() {
            lines.push(format!("guard     {guards}"));
        }
        if self.plan.hold {
            lines.push("absent    new connections are dropped while no Foreword runs".to_owned());
        }
        if self.cgroup.is_none() {
            lines.push("tracking  off: no cgroup2 file system is mounted".to_owned());
        }
        lines
    }

    /// The interfaces of one role that are attached, or the patterns that none is there for.
    fn names(&self, role: Role) -> String {
        let of_role = self.attachments.values().filter(|attachment| attachment.role == role);
        let names: Vec<_> = of_role.map(|attachment| attachment.interface.to_string()).collect();
        if names.is_empty() {
            let patterns: Vec<_> =
                self.settings.interfaces.iter().map(ToString::to_string).collect();
            return format!("nothing yet: no interface is called {}", patterns.join(", "));
        }
        names.join(", ")
    }
}
