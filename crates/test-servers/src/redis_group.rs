//! A Redis with replicas, and sentinels that promote one of them.
//!
//! ```text
//! sentinel 1, 2, 3 ─ watch ─→ primary ─→ replica 1, replica 2
//! ```

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use crate::port;
use crate::questions::{ask, until};
use crate::ready::Probe;
use crate::redis::{RedisOptions, RedisServer};
use crate::server_dir::ServerDir;

/// The name that the sentinels have for the primary.
const NAME: &str = "drumline-test";
/// The number of servers, and that of sentinels: the smallest of which a majority
/// survives the loss of one.
const THREE: usize = 3;
/// The time after which a silent primary is taken for dead: short, because tests wait for
/// it, and far longer than a busy machine is silent.
const DOWN_AFTER_MS: u32 = 3_000;
/// A failed promotion is tried again after twice this time, and a second one does not begin
/// earlier.
const FAILOVER_TIMEOUT_MS: u32 = 2_000;
/// The time that a sentinel may take to start.
const PATIENCE: Duration = Duration::from_secs(60);
/// The sentinels ask and tell each other more often than the usual 1 to 10 s.
const OFTEN: &str =
    "SENTINEL DEBUG info-period 200 publish-period 200 ping-period 200 ask-period 200";
/// Servers and sentinels are the default user. Without its rights, they can neither follow a
/// server nor find it well. The test can still look at it, and give the rights back.
const LOCK: &str = "ACL SETUSER default -@all +acl +client +info";
const UNLOCK: &str = "ACL SETUSER default +@all";

const PROBE: Probe = Probe {
    sent: b"PING\r\n",
    answer: b"+PONG",
};

/// One primary, two replicas and three sentinels that live as long as this value.
#[derive(Debug)]
pub struct RedisGroup {
    servers: Vec<Arc<RedisServer>>,
    sentinels: Vec<Sentinel>,
}

#[derive(Debug)]
struct Sentinel {
    server_dir: ServerDir,
    port: u16,
}

impl RedisGroup {
    /// Starts a group whose servers have these settings, and returns when each sentinel knows
    /// all others.
    ///
    /// # Errors
    /// When Redis is not installed, or the group does not find itself.
    pub async fn start_with(options: RedisOptions) -> anyhow::Result<Self> {
        let with = |more: &[&str]| {
            let mut options = options.clone();
            // A replica that has lost its primary is to follow the next one at once.
            let own = ["--repl-diskless-sync-delay", "0"];
            let arguments = own.iter().chain(more).map(|text| (*text).to_owned());
            options.arguments.extend(arguments);
            options
        };
        let primary = RedisServer::start_with(with(&[])).await?;
        let port = primary.port().to_string();
        let mut servers = vec![Arc::new(primary)];
        for _ in 1..THREE {
            let replica = with(&["--replicaof", "127.0.0.1", &port]);
            servers.push(Arc::new(RedisServer::start_with(replica).await?));
        }
        let replicas = format!("connected_slaves:{}\r\n", THREE - 1);
        until("the replicas do not follow", async || {
            let info = ask(servers[0].port(), "INFO replication").await?;
            Ok(info.contains(&replicas) && info.matches("state=online").count() == THREE - 1)
        })
        .await?;
        let mut sentinels = Vec::new();
        for _ in 0..THREE {
            sentinels.push(Sentinel::start(&port).await?);
        }
        let group = Self { servers, sentinels };
        for sentinel in &group.sentinels {
            until("the sentinels do not find each other", async || {
                let view = ask(sentinel.port, &format!("SENTINEL MASTER {NAME}")).await?;
                let others = format!("num-other-sentinels\r\n$1\r\n{}\r\n", THREE - 1);
                let replicas = format!("num-slaves\r\n$1\r\n{}\r\n", THREE - 1);
                Ok(view.contains(&others) && view.contains(&replicas))
            })
            .await?;
        }
        Ok(group)
    }

    /// Starts a group with append-only files and `appendfsync always`.
    ///
    /// # Errors
    /// As [`RedisGroup::start_with`].
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(RedisOptions::default()).await
    }

    /// The URL for clients, which names the sentinels.
    #[must_use]
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self
            .sentinels
            .iter()
            .map(|sentinel| format!("127.0.0.1:{}", sentinel.port))
            .collect();
        format!("redis+sentinel://{}/{NAME}", hosts.join(","))
    }

    /// The servers, whatever their roles are now.
    #[must_use]
    pub fn servers(&self) -> &[Arc<RedisServer>] {
        &self.servers
    }

    /// The place among the servers of the one that a majority of the sentinels names as the
    /// primary.
    ///
    /// # Errors
    /// When there is no majority.
    pub async fn primary(&self) -> anyhow::Result<usize> {
        let mut votes = [0; THREE];
        for sentinel in &self.sentinels {
            let question = format!("SENTINEL GET-MASTER-ADDR-BY-NAME {NAME}");
            let Ok(answer) = ask(sentinel.port, &question).await else {
                continue;
            };
            let named =
                |server: &Arc<RedisServer>| answer.contains(&format!("\r\n{}\r\n", server.port()));
            if let Some(place) = self.servers.iter().position(named) {
                votes[place] += 1;
            }
        }
        let elected = votes.iter().position(|votes| 2 * votes > THREE);
        elected.context("the sentinels do not agree on a primary")
    }

    /// Waits until another server than this one is the primary, for a majority of the sentinels
    /// and for itself. Returns its place.
    ///
    /// # Errors
    /// When none is promoted.
    pub async fn promoted(&self, from: usize) -> anyhow::Result<usize> {
        let mut promoted = from;
        until("no other server is promoted", async || {
            promoted = self.primary().await.unwrap_or(from);
            Ok(promoted != from && self.has_role(promoted, "master").await)
        })
        .await?;
        Ok(promoted)
    }

    /// Waits until this server follows another one.
    ///
    /// # Errors
    /// When it does not.
    pub async fn demoted(&self, place: usize) -> anyhow::Result<()> {
        until("the old primary is not demoted", async || {
            Ok(self.has_role(place, "slave").await)
        })
        .await
    }

    /// Waits until all other servers follow this one, and have on disk what they have received:
    /// a replica that was sent everything writes its file in the background.
    ///
    /// # Errors
    /// When one does not.
    pub async fn followed(&self, primary: usize) -> anyhow::Result<()> {
        let followed = format!("master_port:{}\r\n", self.servers[primary].port());
        for server in self.others(primary) {
            let port = server.port();
            until("the others do not follow", async || {
                let info = ask(port, "INFO replication").await?;
                let disk = ask(port, "INFO persistence").await?;
                let is_up = info.contains("master_link_status:up\r\n");
                let is_written = disk.contains("aof_rewrite_in_progress:0\r\n")
                    && disk.contains("aof_rewrite_scheduled:0\r\n");
                Ok(is_up && info.contains(&followed) && is_written)
            })
            .await?;
        }
        Ok(())
    }

    /// Cuts a server off from the other servers and from the sentinels, until
    /// [`RedisGroup::reconnect`]. Their connections break, and new ones are of no use. Clients
    /// go on as before if they have a user of their own.
    ///
    /// # Errors
    /// When it refuses.
    pub async fn cut_off(&self, place: usize) -> anyhow::Result<()> {
        self.lock(place, &["CLIENT KILL USER default"]).await
    }

    /// Cuts a primary off as a network does that loses everything: the connections of the
    /// replicas stay, and nothing arrives any more. The replicas stand still until
    /// [`RedisGroup::lose_unread`], and the sentinels are refused until
    /// [`RedisGroup::reconnect`]. Clients go on as before if they have a user of their own.
    ///
    /// # Errors
    /// When a server refuses.
    pub async fn cut_off_silently(&self, primary: usize) -> anyhow::Result<()> {
        for server in self.others(primary) {
            server.stop_signal()?;
        }
        // Both connections of each sentinel.
        let kills = [
            "CLIENT KILL USER default TYPE normal",
            "CLIENT KILL USER default TYPE pubsub",
        ];
        self.lock(primary, &kills).await
    }

    /// Waits until a primary that is cut off counts no replica any more. It refuses writes then,
    /// if it has `min-replicas-to-write` and `min-replicas-max-lag`.
    ///
    /// # Errors
    /// When it goes on counting one.
    pub async fn deserted(&self, primary: usize) -> anyhow::Result<()> {
        let port = self.servers[primary].port();
        until("the primary goes on counting replicas", async || {
            let info = ask(port, "INFO replication").await?;
            Ok(info.contains("min_slaves_good_slaves:0\r\n"))
        })
        .await
    }

    /// Starts the replicas of a primary that was cut off silently with what is on their disks.
    /// Everything that was on the way to them is lost.
    ///
    /// # Errors
    /// When one does not come up.
    pub async fn lose_unread(&self, primary: usize) -> anyhow::Result<()> {
        let port = self.servers[primary].port().to_string();
        for server in self.others(primary) {
            // It may have been another one's replica when it was started first, or a primary.
            let arguments = ["--replicaof", "127.0.0.1", port.as_str()];
            server.restart_with(&arguments).await?;
        }
        Ok(())
    }

    /// Ends [`RedisGroup::cut_off`] and [`RedisGroup::cut_off_silently`].
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn reconnect(&self, place: usize) -> anyhow::Result<()> {
        let answer = ask(self.servers[place].port(), UNLOCK).await?;
        anyhow::ensure!(answer.starts_with("+OK"), "{answer}");
        Ok(())
    }

    /// Asks for a promotion although the primary is well.
    ///
    /// # Errors
    /// When no sentinel begins one.
    pub async fn fail_over(&self) -> anyhow::Result<()> {
        until("no sentinel begins a promotion", async || {
            let order = format!("SENTINEL FAILOVER {NAME}");
            // The last one may be under way still.
            Ok(ask(self.sentinels[0].port, &order)
                .await?
                .starts_with("+OK"))
        })
        .await
    }

    /// Kills a sentinel.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill_sentinel(&self, place: usize) -> anyhow::Result<()> {
        self.sentinels[place].server_dir.kill()
    }

    /// Starts a sentinel again with what it knew when it was killed.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart_sentinel(&self, place: usize) -> anyhow::Result<()> {
        self.sentinels[place].restart().await
    }

    /// Gives all sentinels a password; connections that they have stay.
    ///
    /// # Errors
    /// When one refuses.
    pub async fn set_sentinel_password(&self, password: &str) -> anyhow::Result<()> {
        for sentinel in &self.sentinels {
            let order = format!("ACL SETUSER default resetpass >{password}");
            let answer = ask(sentinel.port, &order).await?;
            anyhow::ensure!(answer.starts_with("+OK"), "{answer}");
        }
        Ok(())
    }

    /// The servers besides this one.
    fn others(&self, place: usize) -> impl Iterator<Item = &Arc<RedisServer>> {
        let servers = self.servers.iter().enumerate();
        servers.filter_map(move |(other, server)| (other != place).then_some(server))
    }

    /// Takes the rights of servers and sentinels on a server, and then their connections.
    async fn lock(&self, place: usize, kills: &[&str]) -> anyhow::Result<()> {
        let port = self.servers[place].port();
        let answer = ask(port, LOCK).await?;
        anyhow::ensure!(answer.starts_with("+OK"), "{answer}");
        for kill in kills {
            let answer = ask(port, kill).await?;
            anyhow::ensure!(answer.starts_with(':'), "{kill}: {answer}");
        }
        Ok(())
    }

    async fn has_role(&self, place: usize, role: &str) -> bool {
        let Some(server) = self.servers.get(place) else {
            return false;
        };
        ask(server.port(), "INFO replication")
            .await
            .is_ok_and(|info| info.contains(&format!("role:{role}\r\n")))
    }
}

impl Sentinel {
    async fn start(primary_port: &str) -> anyhow::Result<Self> {
        let sentinel = Self {
            server_dir: ServerDir::create("sentinel")?,
            port: port::free()?,
        };
        let port = sentinel.port;
        let folder = sentinel.server_dir.path("data");
        let settings = format!(
            "bind 127.0.0.1\nport {port}\ndir {}\n\
             sentinel monitor {NAME} 127.0.0.1 {primary_port} 2\n\
             sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}\n\
             sentinel failover-timeout {NAME} {FAILOVER_TIMEOUT_MS}\n\
             sentinel parallel-syncs {NAME} {THREE}\n",
            folder.display()
        );
        // A sentinel writes what it learns into this file.
        std::fs::write(sentinel.file(), settings)?;
        sentinel.restart().await?;
        Ok(sentinel)
    }

    fn file(&self) -> PathBuf {
        self.server_dir.path("data").join("sentinel.conf")
    }

    /// Starts it with what is in its file; kills it first if it runs.
    async fn restart(&self) -> anyhow::Result<()> {
        let mut command = Command::new("redis-server");
        command.arg(self.file()).arg("--sentinel");
        self.server_dir
            .restart(&mut command, self.port, PROBE, PATIENCE)
            .await
            .context("redis-server --sentinel")?;
        // Releases before 7.0 do not know this, and are slower.
        ask(self.port, OFTEN).await?;
        Ok(())
    }
}
