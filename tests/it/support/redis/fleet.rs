//! Several servers that fail over: a primary with replicas that sentinels watch over, and a cluster. Each lets the user
//! `bursar` in, with the least rights and [`PASSWORD`].

use super::{Node, Release, Server, Settings, least_user};
use crate::support::until;
use bursar::{
    domain::{host_port::HostPort, token::Secret},
    store::redis::{Fresh, RedisOptions, Topology},
};
use futures_util::future::join_all;
use rustls::ClientConfig;
use std::{collections::HashMap, sync::Arc, time::Duration};

pub(crate) const USER: &str = "bursar";
pub(crate) const PASSWORD: &str = "let-bursar-in";
/// What the sentinels call the primary.
pub(crate) const PRIMARY: &str = "tokens";
/// After how long a server that is silent counts as gone, where one is made to.
pub(crate) const GONE_AFTER: Duration = Duration::from_secs(3);
/// The same where nobody is to fail over, though the machine stands still for a while.
pub(crate) const NEVER_GONE: Duration = Duration::from_secs(60);
const PRIMARIES: usize = 3;

/// One primary, two replicas, three sentinels.
pub(crate) struct Watched {
    pub(crate) servers: Vec<Server>,
    pub(crate) sentinels: Vec<Server>,
}

/// Three primaries with a replica each.
pub(crate) struct Cluster {
    pub(crate) servers: Vec<Server>,
}

/// A password, and no TLS.
pub(crate) struct Password(pub(crate) &'static str);

impl Fresh for Password {
    fn password(&self) -> Result<Option<Secret>, String> {
        Ok(Some(Secret::new(self.0)))
    }

    fn sentinel_password(&self) -> Result<Option<Secret>, String> {
        self.password()
    }

    fn tls(&self) -> Result<Option<Arc<ClientConfig>>, String> {
        Ok(None)
    }
}

pub(crate) fn options(topology: Topology) -> RedisOptions {
    let user = Some(USER.to_owned());
    RedisOptions::new(topology).usernames(user.clone(), user).fresh(Arc::new(Password(PASSWORD)))
}

fn addresses(servers: &[Server]) -> Vec<HostPort> {
    servers.iter().map(Server::address).collect()
}

pub(crate) fn listed(servers: &[Server]) -> String {
    addresses(servers).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// A data node; without the delay a replica that joined a moment ago is fit to take over. How fast the disk is does not
/// matter here: what survives does so in the memory of others.
fn data(node: Node, lines: &[String]) -> Settings {
    let mut all = vec![least_user(USER, PASSWORD)];
    all.extend(["repl-diskless-sync-delay 0", "appendfsync no"].map(ToOwned::to_owned));
    all.extend_from_slice(lines);
    Settings { append_only: true, node, lines: all, release: Release::Installed, password: None }
}

impl Watched {
    pub(crate) async fn start(gone_after: Duration) -> Self {
        let lines = vec!["min-replicas-to-write 1".to_owned(), "min-replicas-max-lag 5".to_owned()];
        let first = Server::with(data(Node::Single, &lines)).await;
        let follows = [lines, vec![format!("replicaof 127.0.0.1 {}", first.port())]].concat();
        let settings = data(Node::Single, &follows);
        let (one, other) = tokio::join!(Server::with(settings.clone()), Server::with(settings));
        let servers = vec![first, one, other];
        until("the replicas are online", || async {
            let info = servers[0].replication().await;
            (info.matches("state=online").count() == 2).then_some(())
        })
        .await;
        let lines = vec![
            format!("user {USER} on >{PASSWORD} +sentinel|master"),
            format!("sentinel monitor {PRIMARY} 127.0.0.1 {} 2", servers[0].port()),
            format!("sentinel down-after-milliseconds {PRIMARY} {}", gone_after.as_millis()),
            format!("sentinel failover-timeout {PRIMARY} 5000"),
            format!("sentinel parallel-syncs {PRIMARY} 2"),
        ];
        let settings = Settings { node: Node::Sentinel, lines, ..Settings::default() };
        let sentinels = join_all((0..3).map(|_| Server::with(settings.clone()))).await;
        for sentinel in &sentinels {
            until("the sentinels know each other", || async {
                let told: HashMap<String, String> = sentinel.command(&["SENTINEL", "MASTER", PRIMARY]).await;
                (told["num-slaves"] == "2" && told["num-other-sentinels"] == "2").then_some(())
            })
            .await;
        }
        Self { servers, sentinels }
    }

    pub(crate) fn options(&self) -> RedisOptions {
        options(self.topology(PRIMARY))
    }

    pub(crate) fn topology(&self, primary: &str) -> Topology {
        Topology::Sentinel { sentinels: addresses(&self.sentinels), primary: primary.to_owned() }
    }

    /// As an operator would write it, with the names of files that hold [`PASSWORD`].
    pub(crate) fn lines(&self, password_file: &str) -> String {
        format!(
            "topology = \"sentinel\"\nnodes = \"{}\"\nsentinel_master = \"{PRIMARY}\"\nsentinel_username = \"{USER}\"\n\
             sentinel_password_file = \"{password_file}\"\nusername = \"{USER}\"\npassword_file = \"{password_file}\"\n",
            listed(&self.sentinels),
        )
    }
}

impl Cluster {
    pub(crate) async fn start(timeout: Duration) -> Self {
        let settings = data(Node::OfCluster, &[format!("cluster-node-timeout {}", timeout.as_millis())]);
        let servers = join_all((0..2 * PRIMARIES).map(|_| Server::with(settings.clone()))).await;
        for (number, primary) in servers[..PRIMARIES].iter().enumerate() {
            let [first, next] = [number, number + 1].map(|part| part * 16384 / PRIMARIES);
            primary
                .command::<()>(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &(next - 1).to_string()])
                .await;
            primary.command::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]).await;
        }
        for other in &servers[1..] {
            let (port, bus) = (other.port.to_string(), other.bus.to_string());
            servers[0].command::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).await;
        }
        all_say(&servers, &["cluster_known_nodes:6", "cluster_size:3"]).await;
        for (number, replica) in servers[PRIMARIES..].iter().enumerate() {
            let of: String = servers[number].command(&["CLUSTER", "MYID"]).await;
            replica.command::<()>(&["CLUSTER", "REPLICATE", &of]).await;
        }
        for replica in &servers[PRIMARIES..] {
            until("the replica is in step", || async {
                let info = replica.replication().await;
                info.contains("master_link_status:up").then_some(())
            })
            .await;
        }
        // Everybody has heard of the replicas, or none of them is elected.
        for server in &servers {
            until("the replicas are known", || async {
                let nodes: String = server.command(&["CLUSTER", "NODES"]).await;
                (nodes.matches(" slave ").count() + nodes.matches(",slave ").count() == PRIMARIES)
                    .then_some(())
            })
            .await;
        }
        all_say(&servers, &["cluster_state:ok"]).await;
        Self { servers }
    }

    pub(crate) fn options(&self) -> RedisOptions {
        // One of the names is of a node that is a replica; any will do.
        let seeds = [&self.servers[1], &self.servers[PRIMARIES]].map(Server::address).into();
        options(Topology::Cluster { seeds })
    }

    pub(crate) fn lines(&self, password_file: &str) -> String {
        format!(
            "topology = \"cluster\"\nnodes = \"{}\"\nusername = \"{USER}\"\npassword_file = \"{password_file}\"\n",
            listed(&self.servers),
        )
    }

    /// Which of the servers is the primary of a slot.
    pub(crate) fn primary_of(slot: usize) -> usize {
        (0..PRIMARIES).find(|number| slot < (number + 1) * 16384 / PRIMARIES).unwrap()
    }
}

async fn all_say(servers: &[Server], lines: &[&str]) {
    for server in servers {
        until("the nodes of the cluster know each other", || async {
            let info: String = server.command(&["CLUSTER", "INFO"]).await;
            lines.iter().all(|line| info.contains(line)).then_some(())
        })
        .await;
    }
}
