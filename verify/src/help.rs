//! What `--help` prints. The options are read elsewhere.
#![forbid(unsafe_code)]

/// What `--help` prints.
pub const HELP: &str = "\
Checks audit streams: which records are missing, doubled or out of order, by node and seq.

Usage: omvalkeyaudit-verify [options]

Which server:
  --server ADDRESS     host, host:port, [v6]:port or unix:/path (127.0.0.1:6379);
                       several: repeat it, the first that answers is read
  --sentinel-master NAME
                       the servers are sentinels (port 26379); the primary is read of
                       the group that they watch under this name
  --sentinel-user NAME
                       the ACL user to log in as at the sentinels
  --sentinel-passwordfile PATH
                       a file whose first line is the password there
  --user NAME          the ACL user to log in as
  --passwordfile PATH  a file whose first line is the password
  --db NUMBER          the database (0)
  --timeout SECONDS    the longest wait for the server (30)
  --tls                speak TLS; the server's certificate is verified
  --cacert PATH        the authorities to trust, a file or a directory (the system's)
  --cert PATH          our own certificate, for servers that ask for one
  --privkey PATH       its private key
  --sni NAME           the name in the server's certificate, if not that of --server
Which records:
  --key KEY            the stream to check; several: repeat it (audit)
  --shards NUMBER      each --key is spread over so many streams: KEY:{0}, KEY:{1} ...
  --deadletter KEY     a dead letter to take into account; several: repeat it
  --field NAME         the field that holds a record stored as JSON text (msg)
  --from ID|TIME       begin at this entry id or time (2026-01-31T12:00:00Z)
  --to ID|TIME         end at this entry id or time
  --node ID            only the node whose id begins so; several: repeat it
  --from-start         expect each node's records from seq 1 on
  --strict             take warnings as failures
  --max-ranges NUMBER  the most ranges of seq to remember, 40 bytes each (1000000)
What to print:
  --json               the report as JSON
  --quiet              nothing; the exit code tells
  --progress           progress on stderr, even if that is no terminal
  --help, --version

Exit code: 0 complete, 1 something is missing or doubled, 2 could not check.
";
