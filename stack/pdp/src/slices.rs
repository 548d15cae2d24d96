//! Rules by scope, so that a decision evaluates only those that can apply.
//!
//! Cedar's cost is linear in the number of rules. A rule whose scope (principal, action, resource)
//! does not match is neither satisfied nor able to fail, so leaving it out changes nothing: the
//! answer over the slices is the answer over the whole set (a test compares them).

use std::collections::{BTreeMap, HashMap};

use cedar_policy::{
    EntityTypeName, EntityUid, Policy, PolicySet, PolicySetError, PrincipalConstraint,
    ResourceConstraint,
};

/// The constraint of a scope on its principal or on its resource.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Selector {
    Any,
    Is(EntityTypeName),
    At(EntityUid),
    Under(EntityUid),
    UnderAs(EntityTypeName, EntityUid),
}

impl Selector {
    /// Every constraint that an entity with these ancestors satisfies.
    pub(crate) fn matching<'a>(
        entity: &'a EntityUid,
        ancestors: &'a [EntityUid],
    ) -> impl Iterator<Item = Self> + 'a {
        let kind = entity.type_name();
        // Cedar, operator `in`: an entity is in itself.
        let under = std::iter::once(entity).chain(ancestors).flat_map(|ancestor| {
            [Self::Under(ancestor.clone()), Self::UnderAs(kind.clone(), ancestor.clone())]
        });
        [Self::Any, Self::Is(kind.clone()), Self::At(entity.clone())].into_iter().chain(under)
    }
}

impl From<PrincipalConstraint> for Selector {
    fn from(constraint: PrincipalConstraint) -> Self {
        match constraint {
            PrincipalConstraint::Any => Self::Any,
            PrincipalConstraint::In(entity) => Self::Under(entity),
            PrincipalConstraint::Eq(entity) => Self::At(entity),
            PrincipalConstraint::Is(kind) => Self::Is(kind),
            PrincipalConstraint::IsIn(kind, entity) => Self::UnderAs(kind, entity),
        }
    }
}

impl From<ResourceConstraint> for Selector {
    fn from(constraint: ResourceConstraint) -> Self {
        match constraint {
            ResourceConstraint::Any => Self::Any,
            ResourceConstraint::In(entity) => Self::Under(entity),
            ResourceConstraint::Eq(entity) => Self::At(entity),
            ResourceConstraint::Is(kind) => Self::Is(kind),
            ResourceConstraint::IsIn(kind, entity) => Self::UnderAs(kind, entity),
        }
    }
}

/// The rules of one action.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slices {
    /// Numbers of the constraints that occur.
    principals: HashMap<Selector, usize>,
    resources: HashMap<Selector, usize>,
    /// The rules that have both.
    sets: BTreeMap<(usize, usize), PolicySet>,
}

impl Slices {
    /// Adds a rule whose action matches.
    pub(crate) fn add(&mut self, policy: &Policy) -> Result<(), Box<PolicySetError>> {
        let principal = number(&mut self.principals, policy.principal_constraint().into());
        let resource = number(&mut self.resources, policy.resource_constraint().into());
        self.sets.entry((principal, resource)).or_default().add(policy.clone()).map_err(Box::new)
    }

    /// The rules whose scope matches, in sets that share none.
    pub(crate) fn matching(
        &self,
        principal: &EntityUid,
        resource: &EntityUid,
        parents: &[EntityUid],
    ) -> Vec<&PolicySet> {
        let numbers = |known: &HashMap<Selector, usize>, entity, ancestors| {
            Selector::matching(entity, ancestors)
                .filter_map(|selector| known.get(&selector).copied())
                .collect::<Vec<_>>()
        };
        let resources = numbers(&self.resources, resource, parents);
        numbers(&self.principals, principal, &[])
            .into_iter()
            .flat_map(|principal| resources.iter().map(move |resource| (principal, *resource)))
            .filter_map(|key| self.sets.get(&key))
            .collect()
    }
}

fn number(known: &mut HashMap<Selector, usize>, selector: Selector) -> usize {
    let next = known.len();
    *known.entry(selector).or_insert(next)
}
