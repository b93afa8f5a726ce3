// A program that closes a file in the way its argument names: what the process
// oracle must tell apart. It says "ready" on stdout where a test steps in.
//
//   flush_child SCENARIO FILE
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace {

void Ready() {
  if (write(STDOUT_FILENO, "ready\n", 6) != 6) _exit(99);
}

int OpenAndWrite(const char* path, int flags = 0) {
  const int fd = open(path, O_WRONLY | O_CREAT | flags, 0644);
  if (fd < 0 || write(fd, "data", 4) != 4) _exit(98);
  return fd;
}

[[noreturn]] void WaitForever() {
  while (true) pause();
}

// More supplementary groups than fit the first 4 KiB of the status file.
void JoinManyGroups() {
  std::vector<gid_t> groups(1000);
  for (std::size_t i = 0; i < groups.size(); ++i) {
    groups[i] = static_cast<gid_t>(1'000'000'000 + i);
  }
  if (setgroups(groups.size(), groups.data()) != 0) _exit(93);
}

// This program again, doing nothing.
[[noreturn]] void Exec(char** argv) {
  char again[] = "nothing";
  char* arguments[] = {argv[0], again, argv[2], nullptr};
  execv("/proc/self/exe", arguments);
  _exit(96);
}

int Run(const std::string& scenario, const char* path, char** argv) {
  if (scenario == "pause") {
    OpenAndWrite(path);
    Ready();
    WaitForever();
  }
  if (scenario == "pause-with-threads") {
    OpenAndWrite(path);
    std::thread(WaitForever).detach();
    std::thread(WaitForever).detach();
    Ready();
    WaitForever();
  }
  if (scenario == "pause-with-duplicate") {
    dup(OpenAndWrite(path));
    Ready();
    WaitForever();
  }
  // Writes for ever: a signal finds it inside write(2).
  if (scenario == "write-forever") {
    const int fd = OpenAndWrite(path);
    Ready();
    while (write(fd, "more", 4) == 4) {
    }
    return 97;
  }
  if (scenario == "leader-gone-pause") {
    OpenAndWrite(path);
    std::thread([] {
      Ready();
      WaitForever();
    }).detach();
    pthread_exit(nullptr);
  }
  if (scenario == "leader-gone-close") {
    const int fd = OpenAndWrite(path);
    const pthread_t leader = pthread_self();
    std::thread([fd, leader] {
      pthread_join(leader, nullptr);
      close(fd);
      _exit(0);
    }).detach();
    pthread_exit(nullptr);
  }
  if (scenario == "segv") {
    OpenAndWrite(path);
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
  }
  if (scenario == "abort") {
    OpenAndWrite(path);
    abort();
  }
  if (scenario == "exit") {
    OpenAndWrite(path);
    return 3;
  }
  // Exit codes with low bits set must not look like signals.
  if (scenario == "exit-137") {
    OpenAndWrite(path);
    _exit(137);
  }
  if (scenario == "exit-with-threads") {
    OpenAndWrite(path);
    std::thread(WaitForever).detach();
    std::thread(WaitForever).detach();
    exit(0);
  }
  if (scenario == "close") {
    close(OpenAndWrite(path));
    return 0;
  }
  if (scenario == "close-in-thread") {
    const int fd = OpenAndWrite(path);
    std::thread([fd] { close(fd); }).join();
    return 0;
  }
  if (scenario == "duplicate") {
    const int fd = OpenAndWrite(path);
    const int copy = dup(fd);
    close(fd);
    close(copy);
    return 0;
  }
  if (scenario == "duplicate-with-many-groups") {
    JoinManyGroups();
    return Run("duplicate", path, argv);
  }
  if (scenario == "pause-with-many-groups") {
    JoinManyGroups();
    return Run("pause", path, argv);
  }
  // A thread with descriptors of its own, which end with it.
  if (scenario == "thread-with-own-descriptors") {
    std::thread([path] {
      if (unshare(CLONE_FILES) != 0) _exit(92);
      OpenAndWrite(path);
    }).detach();
    Ready();
    WaitForever();
  }
  // execve ends the first thread and gives its number to the caller.
  if (scenario == "exec-in-thread") {
    OpenAndWrite(path, O_CLOEXEC);
    std::thread([argv] { Exec(argv); }).detach();
    WaitForever();
  }
  if (scenario == "reader-too") {
    const int fd = OpenAndWrite(path);
    const int reader = open(path, O_RDONLY);
    close(fd);
    close(reader);
    return 0;
  }
  if (scenario == "fork") {
    const int fd = OpenAndWrite(path);
    const pid_t pid = fork();
    if (pid == 0) _exit(0);
    waitpid(pid, nullptr, 0);
    close(fd);
    return 0;
  }
  if (scenario == "exec") {
    OpenAndWrite(path, O_CLOEXEC);
    Exec(argv);
  }
  if (scenario == "exec-when-told") {
    OpenAndWrite(path, O_CLOEXEC);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    Ready();
    int signal_number = 0;
    sigwait(&set, &signal_number);
    Exec(argv);
  }
  if (scenario == "fork-exec") {
    const int fd = OpenAndWrite(path, O_CLOEXEC);
    const pid_t pid = fork();
    if (pid == 0) Exec(argv);
    waitpid(pid, nullptr, 0);
    close(fd);
    return 0;
  }
  if (scenario == "stop-then-close") {
    const int fd = OpenAndWrite(path);
    Ready();
    raise(SIGSTOP);
    close(fd);
    return 0;
  }
  // Ready comes before the close that the test holds back.
  if (scenario == "killed-in-close") {
    const int fd = OpenAndWrite(path);
    Ready();
    close(fd);
    return 0;
  }
  if (scenario == "nothing") return 0;
  return 95;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 94;
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  return Run(argv[1], argv[2], argv);
}
