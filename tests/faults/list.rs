//! All scenarios, in the order of the table.

use testkit::Flavour;

use crate::keys::Wish;
use crate::scenario::{Needs, Path, Queue, Scenario, scenario};
use crate::setting::Topology;
use crate::{guest, network, poison, rsyslogd, server, takeover};

pub(crate) const SCENARIOS: [Scenario; 62] = [
    scenario("delay, tcp", 10, Needs::PROXY, network::delay),
    scenario("delay, unix", 10, Needs::UNIX_PROXY, network::delay),
    scenario("cut before EXEC, tcp", 20, Needs::PROXY, network::cut_before_exec),
    scenario("cut before EXEC, unix", 20, Needs::UNIX_PROXY, network::cut_before_exec),
    scenario("cut inside the transaction, tcp", 20, Needs::PROXY, network::cut_inside),
    scenario("cut inside the transaction, unix", 20, Needs::UNIX_PROXY, network::cut_inside),
    scenario("cut after EXEC, tcp", 20, Needs::PROXY, network::cut_after_exec),
    scenario("cut after EXEC, unix", 20, Needs::UNIX_PROXY, network::cut_after_exec),
    scenario("EXEC arrives late, tcp", 20, Needs::PROXY, network::late_exec),
    scenario("EXEC arrives late, unix", 20, Needs::UNIX_PROXY, network::late_exec),
    scenario("replies swallowed, tcp", 5, Needs::PROXY, network::swallowed_replies),
    scenario("replies swallowed, unix", 5, Needs::UNIX_PROXY, network::swallowed_replies),
    scenario("garbage for an answer, tcp", 20, Needs::PROXY, network::garbage),
    scenario("garbage for an answer, unix", 20, Needs::UNIX_PROXY, network::garbage),
    scenario("half-closed, tcp", 20, Needs::PROXY, network::half_close),
    scenario("half-closed, unix", 20, Needs::UNIX_PROXY, network::half_close),
    scenario("black hole, tcp", 5, Needs::PROXY, network::black_hole),
    scenario("black hole, unix", 5, Needs::UNIX_PROXY, network::black_hole),
    scenario("server SIGSTOP, SIGCONT", 5, Needs::PLAIN, server::stopped),
    scenario("server SIGKILL, restart", 5, Needs::PLAIN, server::killed),
    scenario("CLIENT KILL", 20, Needs::PLAIN, server::clients_killed),
    scenario("CLIENT PAUSE", 6, Needs::PLAIN, server::clients_paused),
    scenario("maxmemory reached", 5, Needs::PLAIN, server::out_of_memory),
    scenario(
        "REPLICAOF, NO ONE",
        5,
        Needs { cluster_refuses: Some("a cluster's node refuses REPLICAOF"), ..Needs::PLAIN },
        server::read_only,
    ),
    scenario(
        "MISCONF",
        5,
        Needs { server: "save 86400 1000000000", ..Needs::PLAIN },
        server::misconf,
    ),
    scenario(
        "password changes",
        5,
        // omhiredis has no password file.
        Needs { has_password: true, has_peer: false, ..Needs::PLAIN },
        server::password,
    ),
    scenario("ACL revoked and returned", 5, Needs::PLAIN, server::revoked),
    scenario("WRONGTYPE on the key", 5, Needs::ONE_KEY, server::wrong_type),
    scenario("NOPERM on the key", 5, Needs::ONE_KEY, server::forbidden_key),
    scenario(
        "poison: broken JSON",
        1,
        Needs { text: poison::broken_json, is_bad: poison::is_bad, ..Needs::POISON },
        poison::flow,
    ),
    scenario(
        "poison: too long",
        1,
        Needs {
            text: poison::too_long,
            is_bad: poison::is_bad,
            parameters: "record.maxbytes=\"1k\"",
            ..Needs::POISON
        },
        poison::flow,
    ),
    scenario("poison: WRONGTYPE on one key of 100", 1, Needs::DYNAMIC, poison::wrong_type),
    scenario("poison: NOPERM on one key of 100", 1, Needs::DYNAMIC, poison::forbidden),
    scenario("HUP under load", 20, Needs::PLAIN, rsyslogd::hup),
    scenario(
        "4 workers, cuts of all kinds",
        20,
        Needs { workers: 4, keys: Wish::PerWorker(4), keeps_order: false, ..Needs::PROXY },
        rsyslogd::workers,
    ),
    scenario("SIGTERM while suspended, restart", 5, Needs::STOPPED, rsyslogd::stopped),
    scenario(
        "SIGTERM in a black hole, restart",
        20,
        // Longer than rsyslogd waits for a worker before it cancels it.
        Needs { commit_ms: 2000, path: Path::TcpProxy, ..Needs::STOPPED },
        guest::stopped_in_a_black_hole,
    ),
    scenario(
        "kill -9 in a transaction, disk queue",
        6,
        Needs {
            queue: Queue::Disk,
            share: 10,
            keeps_order: false,
            may_double: true,
            ..Needs::PLAIN
        },
        rsyslogd::killed,
    ),
    scenario("suspended for a while", 1, Needs::PLAIN, guest::suspended),
    scenario("primary SIGKILL, takeover", 4, Needs::GROUP, takeover::killed),
    scenario(
        "cut after EXEC, SIGKILL, takeover",
        1,
        Needs { path: Path::TcpProxy, ..Needs::GROUP },
        takeover::killed_after_commit,
    ),
    scenario("primary SIGSTOP, takeover", 3, Needs::GROUP, takeover::paused),
    scenario("SENTINEL FAILOVER", 4, Needs::GROUP, takeover::ordered),
    scenario(
        "SENTINEL FAILOVER COORDINATED",
        4,
        // No other server has it.
        Needs { flavour: Some(Flavour::Valkey91), ..Needs::GROUP },
        takeover::coordinated,
    ),
    scenario("a sentinel SIGKILL", 6, Needs::GROUP, takeover::sentinel_killed),
    scenario("all sentinels SIGKILL, restart", 4, Needs::GROUP, takeover::sentinels_killed),
    scenario("primary SIGKILL, takeover, a copy", 4, Needs::COPIES, takeover::killed),
    scenario("primary SIGSTOP, takeover, a copy", 3, Needs::COPIES, takeover::paused),
    scenario(
        "SENTINEL FAILOVER, two copies",
        3,
        // Of all: the sentinels may choose either.
        Needs {
            parameters: "durability.replicas=\"2\" durability.timeout=\"500\"",
            ..Needs::COPIES
        },
        takeover::ordered,
    ),
    scenario(
        "replica SIGSTOP, SIGCONT, a copy",
        5,
        Needs { topology: Some(Topology::Standalone), ..Needs::COPIES },
        server::replica_stopped,
    ),
    scenario("node SIGKILL, takeover", 4, Needs::CLUSTER, takeover::killed),
    scenario("node SIGSTOP, takeover", 3, Needs::CLUSTER, takeover::paused),
    scenario("CLUSTER FAILOVER", 4, Needs::CLUSTER, takeover::handed_over),
    scenario("the slot moves", 10, Needs::CLUSTER, takeover::moved),
    scenario("node SIGKILL, takeover, a copy", 4, Needs::CLUSTER_COPY, takeover::killed),
    scenario(
        "cut after EXEC, node SIGKILL, takeover, a copy",
        1,
        Needs { path: Path::TcpProxy, ..Needs::CLUSTER_COPY },
        takeover::killed_after_commit,
    ),
    scenario("node SIGSTOP, takeover, a copy", 3, Needs::CLUSTER_COPY, takeover::paused),
    scenario("CLUSTER FAILOVER, a copy", 4, Needs::CLUSTER_COPY, takeover::handed_over),
    scenario("CLUSTER FAILOVER FORCE, two copies", 3, Needs::CLUSTER_COPIES, takeover::forced),
    scenario("CLUSTER FAILOVER TAKEOVER, two copies", 3, Needs::CLUSTER_COPIES, takeover::taken),
    scenario("replicas parted, a copy", 5, Needs::CLUSTER_COPY, takeover::replicas_parted),
    scenario(
        "replica SIGSTOP, SIGCONT, two copies",
        5,
        Needs::CLUSTER_COPIES,
        server::replica_stopped,
    ),
];
