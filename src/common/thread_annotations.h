// Names for clang's thread safety analysis, which proves at compile time that
// what a mutex guards is touched only while it is held. Nothing for g++.
// https://clang.llvm.org/docs/ThreadSafetyAnalysis.html
#pragma once

#if defined(__clang__)
#define CKPTFS_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define CKPTFS_THREAD_ANNOTATION(x)
#endif

// Of a class: a lock, and an object that holds one as long as it lives.
#define CKPTFS_CAPABILITY(kind) CKPTFS_THREAD_ANNOTATION(capability(kind))
#define CKPTFS_SCOPED_CAPABILITY CKPTFS_THREAD_ANNOTATION(scoped_lockable)

// Of a member: touched only while `mu` is held.
#define CKPTFS_GUARDED_BY(mu) CKPTFS_THREAD_ANNOTATION(guarded_by(mu))

// Of a function: called with the lock held, without it; takes it, drops it.
#define CKPTFS_REQUIRES(...) \
  CKPTFS_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define CKPTFS_EXCLUDES(...) \
  CKPTFS_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))
#define CKPTFS_ACQUIRE(...) \
  CKPTFS_THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define CKPTFS_RELEASE(...) \
  CKPTFS_THREAD_ANNOTATION(release_capability(__VA_ARGS__))
