//! What is asked of a Redis before it is used: its version, what the deployment was begun with.

use super::{
    super::{CALL_TIMEOUT, StoreError},
    durability::{check_primary, check_version},
    layout::{FORMAT, Layout},
    nodes::{Lane, Nodes},
    refusals::Fault,
    slots::slot_of,
};
use redis::Pipeline;
use tokio::time::Instant;

/// What is done in a namespace where no deployment was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beginning {
    Begins,
    /// Somebody only looks.
    Leaves,
}

/// Sees whether every node will do, and begins the deployment if nobody did.
pub(super) async fn inspect(nodes: &Nodes, layout: &Layout, beginning: Beginning) -> Result<(), StoreError> {
    for node in nodes.all() {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("INFO");
        let asked = node.link(Lane::Reads).ask(&pipeline, Instant::now() + CALL_TIMEOUT).await;
        let (info,): (String,) = asked.map_err(Fault::at_start)?;
        let refusals = nodes.dialer().refusals(&node.address);
        check_version(&info, &refusals)?;
        check_primary(&info, &refusals)?;
    }
    agree(nodes, layout, beginning).await
}

/// Records format and number of shards at first use, and compares them ever after: with another number,
/// documents would be looked for in the wrong shard.
async fn agree(nodes: &Nodes, layout: &Layout, beginning: Beginning) -> Result<(), StoreError> {
    let ours = format!("format={FORMAT} shards={}", layout.shards());
    let slot = slot_of(&layout.meta());
    let mut pipeline = Pipeline::new();
    // Read first: a full Redis refuses even a write that would change nothing.
    pipeline.cmd("GET").arg(layout.meta());
    let asked = nodes.ask(slot, Lane::Reads, &pipeline).await;
    let (mut theirs,): (Option<String>,) = asked.map_err(Fault::at_start)?;
    if theirs.is_none() && beginning == Beginning::Begins {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("SET").arg(layout.meta()).arg(&ours).arg("NX").arg("GET");
        (theirs,) = nodes.ask(slot, Lane::Reads, &pipeline).await.map_err(Fault::at_start)?;
    }
    match theirs {
        Some(theirs) if theirs != ours => {
            let theirs: String =
                theirs.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(64).collect();
            let cause = format!(
                "this deployment was begun with `{theirs}`, this program is set to `{ours}`: \
                 set it alike, or choose another namespace"
            );
            Err(StoreError::Unusable { cause })
        }
        Some(_) | None => Ok(()),
    }
}
