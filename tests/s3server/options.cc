#include "s3server/options.h"

#include <CLI/CLI.hpp>

namespace ckptfs::s3server {

CommandLine ParseCommandLine(int argc, char** argv) {
  Options options;
  CLI::App app(
      "An S3 server in memory, for tests, the demo and benchmarks. It prints\n"
      "'listening http://HOST:PORT' when it is ready, and serves until "
      "SIGTERM\n"
      "or SIGINT. Faults and statistics are under /_control/ (see "
      "control_api.h).");
  app.add_option("--host", options.host, "Address to listen on")
      ->capture_default_str();
  app.add_option("--port", options.port, "Port; 0 takes a free one")
      ->capture_default_str();
  app.add_option("--bucket", options.buckets,
                 "A bucket that exists; may be repeated");
  app.add_option("--access-key", options.credentials.access_key,
                 "Access key clients sign with")
      ->envname("AWS_ACCESS_KEY_ID")
      ->capture_default_str();
  app.add_option("--secret-key", options.credentials.secret_key,
                 "Secret key clients sign with (default testtesttest)")
      ->envname("AWS_SECRET_ACCESS_KEY");
  app.add_option("--session-token", options.credentials.session_token,
                 "x-amz-security-token that clients must send; the token "
                 "'expired' is always answered with ExpiredToken");
  app.add_option("--region", options.region,
                 "Region clients must sign for; empty for any")
      ->capture_default_str();
  app.add_flag("--no-auth", options.no_auth, "Do not look at signatures");
  app.add_flag("--requester-pays", options.requester_pays,
               "Refuse requests that do not say that the requester pays");
  app.add_flag("--deny-list", options.deny_list,
               "No list permission: listings and HeadBucket answer "
               "AccessDenied, and so do absent keys");
  app.add_flag("--bench", options.bench,
               "Opaque ETags and no digest of bodies, for speed");
  app.add_flag("--discard-bodies", options.discard_bodies,
               "Keep only the length of uploaded bodies and serve the pattern "
               "(pattern.h) for them; implies opaque ETags");
  app.add_option("--min-part-size", options.min_part_bytes,
                 "Least size in bytes of all parts but the last")
      ->capture_default_str();
  auto* cert = app.add_option("--tls-cert", options.tls_cert,
                              "Serve https with this certificate chain (PEM)")
                   ->check(CLI::ExistingFile);
  auto* key =
      app.add_option("--tls-key", options.tls_key, "Key of --tls-cert (PEM)")
          ->check(CLI::ExistingFile);
  cert->needs(key);
  key->needs(cert);
  app.add_option("--tls-self-signed", options.tls_self_signed,
                 "Serve https for localhost with a new certificate; writes "
                 "ca.pem, cert.pem and key.pem to this directory")
      ->check(CLI::ExistingDirectory)
      ->excludes(cert);
  app.add_option("--latency-ms", options.latency_ms,
                 "Wait of every request before it is done")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--conn-mibs", options.conn_mibs,
                 "MiB per second and direction of each connection; 0: no limit")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--clock-offset", options.clock_offset_s,
                 "Seconds that the server's clock is ahead")
      ->capture_default_str();
  app.add_option("--fault", options.faults,
                 "A fault, e.g. 'op=UploadPart&part=2&action=fail&count=-1'; "
                 "may be repeated (grammar: fault_plan.h)");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return {std::nullopt, code == 0 ? 0 : 2};
  }
  return {std::move(options), 0};
}

}  // namespace ckptfs::s3server
