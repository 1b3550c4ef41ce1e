// What a training step spends beside its dense layers, for the processor it is compiled on.
#include "attention.h"
#include "layers.h"
#include "update.h"

// `bytes` of a number: 2 for bf16, 4 for fp32. Of what each function does, see its template of the same name.

extern "C" Count attention_scratch(Count tokens, Count head, Count bytes) {
    return bytes_of_thread(tokens, head, bytes) * omp_get_max_threads();
}
extern "C" void attention_forward(const void* qkv, const void* bias, void* mixed, void* rest, float* logs,
                                  char* scratch, Count images, Count tokens, Count heads, Count head, Count bytes) {
    for_numbers(bytes, [=](auto zero) {
        typedef decltype(zero) N;
        attention_forward<N>((const N*)qkv, (const N*)bias, (N*)mixed, (N*)rest, logs, scratch, images, tokens, heads,
                             head);
    });
}
extern "C" void attention_backward(const void* qkv, const void* bias, const void* mixed, const void* rest,
                                   const void* grad, const float* logs, void* changed, float* totals, char* scratch,
                                   Count images, Count tokens, Count heads, Count head, Count bytes) {
    for_numbers(bytes, [=](auto zero) {
        typedef decltype(zero) N;
        attention_backward<N>((const N*)qkv, (const N*)bias, (const N*)mixed, (const N*)rest, (const N*)grad, logs,
                              (N*)changed, totals, scratch, images, tokens, heads, head);
    });
}
extern "C" void gelu_forward(const void* x, const void* bias, void* y, Count rows, Count width, int tanh, Count bytes) {
    for_numbers(bytes, [=](auto zero) {
        typedef decltype(zero) N;
        auto work = tanh ? gelu_forward<N, gelu_tanh> : gelu_forward<N, gelu_exact>;
        work((const N*)x, (const N*)bias, (N*)y, rows, width);
    });
}
extern "C" void gelu_backward(const void* x, const void* bias, const void* grad, void* changed, float* sums, Count rows,
                              Count width, Count parts, int tanh, Count bytes) {
    for_numbers(bytes, [=](auto zero) {
        typedef decltype(zero) N;
        auto work = tanh ? gelu_backward<N, gelu_tanh> : gelu_backward<N, gelu_exact>;
        work((const N*)x, (const N*)bias, (const N*)grad, (N*)changed, sums, rows, width, parts);
    });
}
extern "C" void norm_forward(const void* x, const void* weight, const void* bias, void* y, float* means,
                             float* inverses, Count rows, Count width, float epsilon, Count bytes) {
    for_numbers(bytes, [=](auto zero) {
        typedef decltype(zero) N;
        norm_forward<N>((const N*)x, (const N*)weight, (const N*)bias, (N*)y, means, inverses, rows, width, epsilon);
    });
}
extern "C" void norm_backward(const void* x, const void* grad, const void* weight, const float* means,
                              const float* inverses, void* changed, float* sums, Count rows, Count width, Count parts,
                              Count bytes) {
    for_numbers(bytes, [=](auto zero) {
        typedef decltype(zero) N;
        norm_backward<N>((const N*)x, (const N*)grad, (const N*)weight, means, inverses, (N*)changed, sums, rows, width,
                         parts);
    });
}

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
