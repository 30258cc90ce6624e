//! Which ops of a plan are written together.

use crmsync_core::model::{EntityName, Op, OpKind, Side};

/// Ops of the same entity, kind and side.
pub(super) struct Group<'p> {
    pub(super) entity: &'p EntityName,
    /// Groups of the same entity and kind are of one stage.
    stage: usize,
    /// Groups of one stage and turn do not touch the same link.
    turn: u8,
    pub(super) target: Option<(Kind, Side)>,
    pub(super) ops: Vec<&'p Op>,
}

impl Group<'_> {
    fn is_of(&self, op: &Op) -> bool {
        *self.entity == op.entity && self.target.map(|of| of.0) == kind(op)
    }

    /// Whether both write at the same time without meeting.
    pub(super) fn runs_beside(&self, next: &Self) -> bool {
        (self.stage, self.turn) == (next.stage, next.turn)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Create,
    Update,
    Delete,
    Archive,
}

/// Writes of one kind and entity are independent of each other: those to the same side go together, so that calls
/// carry as many rows as they may. Only the two writes of one link are not (I24): the second one takes the next turn.
pub(super) fn groups(ops: &[Op]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut before: Option<&Op> = None;
    for op in ops {
        let target = op.writes().zip(kind(op)).map(|(side, kind)| (kind, side));
        let begun = groups.last().is_some_and(|last| last.is_of(op));
        let stage = groups.last().map_or(0, |last| last.stage + usize::from(!begun));
        let again = begun && before.is_some_and(|before| before.link == op.link);
        let turn = u8::from(again && target.is_some());
        let same = |group: &&mut Group<'_>| {
            group.stage == stage && group.turn == turn && group.target == target
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.ops.push(op),
            None => groups.push(Group { entity: &op.entity, stage, turn, target, ops: vec![op] }),
        }
        before = Some(op);
    }
    groups.sort_by_key(|group| (group.stage, group.turn));
    groups
}

const fn kind(op: &Op) -> Option<Kind> {
    match &op.kind {
        OpKind::Create { .. } => Some(Kind::Create),
        OpKind::Update { .. } => Some(Kind::Update),
        OpKind::Delete { .. } => Some(Kind::Delete),
        OpKind::Archive { .. } => Some(Kind::Archive),
        OpKind::Link { .. }
        | OpKind::Agree { .. }
        | OpKind::Relate { .. }
        | OpKind::Revive { .. } => None,
    }
}
