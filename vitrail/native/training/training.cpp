// What a training step in bf16 spends beside its dense layers, for the processor it is compiled on.
#include "attention.h"
#include "layers.h"
#include "update.h"

#if defined(__AMX_BF16__) && !defined(WITHOUT_AMX) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

// Linux lets a process use matrix tiles once it has asked for them. 0 where it may.
extern "C" int begin() {
    const long ask = 0x1023, tiles = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA (arch/x86/include/uapi/asm/prctl.h)
    return (int)syscall(SYS_arch_prctl, ask, tiles);
}
#else
extern "C" int begin() { return 0; }
#endif
