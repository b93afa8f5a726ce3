// What --help says below the options of a command: what it does, in which
// environment, and its exit codes, which a test compares with the manual.
#pragma once

namespace ckptfs::cli {

inline constexpr char kMountFooter[] = R"(
Credentials are read from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
AWS_SESSION_TOKEN or a profile of the AWS tools, never from the command line.

Exit status:
  0  mounted (in the foreground: unmounted, no file unfinished)
  1  any other failure
  2  a wrong option or argument
  3  credentials, clock or permission
  4  no such bucket, or it is in another region
  5  the endpoint cannot be reached or is not trusted
  6  the mount point or FUSE
  7  files were lost: named in the log, not published)";

inline constexpr char kUmountFooter[] = R"(
Waits until every file that is being written was published, or until the
mount's --drain-timeout, and says what it waits for.

Exit status:
  0  unmounted, and no file was unfinished then
  2  a wrong option or argument
  6  not a mount of ckptfs, or its daemon does not answer
  7  files were lost: they are named, and were not published)";

inline constexpr char kInspectFooter[] = R"(
Tells torch.save files, safetensors files and DCP folders apart, and lists their
tensors and the classes and functions that a pickle names and that
torch.load(weights_only=True) refuses. Nothing of a file is run, and no bytes of
tensors are fetched.

Exit status:
  0  listed, nothing unsafe
  1  any other failure, e.g. no such file
  2  a wrong option or argument
  3  credentials, clock or permission
  4  no such bucket, or it is in another region
  5  the endpoint cannot be reached or is not trusted
  8  listed, and the pickle names what weights_only refuses
  9  damaged, or not a checkpoint that is read here)";

inline constexpr char kVerifyFooter[] = R"(
Reads a torch.save file, or all that a DCP folder has of them, in bounded
memory, and compares every record with its checksum. Of safetensors, which has
no checksums, the sizes are compared.

Exit status:
  0  whole
  1  any other failure, e.g. no such file
  2  a wrong option or argument
  3  credentials, clock or permission
  4  no such bucket, or it is in another region
  5  the endpoint cannot be reached or is not trusted
  9  damaged, or not a checkpoint that is read here)";

}  // namespace ckptfs::cli
