/* Rust's standard library takes its random keys from ProcessPrng in bcryptprimitives.dll, which Wine 8 does not have.
   This is that one function, over RtlGenRandom (exported by advapi32 as SystemFunction036), which Wine has.
   ci/windows builds it and puts it beside the programs it runs under Wine; it is no part of the library. */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T length)
{
    while (length > 0) {
        ULONG part = length > 0x10000000 ? 0x10000000 : (ULONG)length;
        if (!SystemFunction036(data, part))
            return FALSE;
        data += part;
        length -= part;
    }
    return TRUE;
}
