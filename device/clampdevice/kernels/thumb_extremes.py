"""Sums with minimum, maximum and samples at the rails, in ARMv6-M assembler.

As thumb_sums12.py, to whose header the same holds. Samples go through in groups of 16. Two
additions a pair tell whether a group holds a sample outside [lower bound, upper bound], which
are the extremes so far or the rails, whichever is nearer: only such a group is looked through
one by one. A signal that clips in every group costs about 18 cycles a sample more.

The wrappers put the rails into the unused upper halves of the words of minimum and maximum.
Imported by the package's `__init__` only.
"""

import micropython


@micropython.asm_thumb
def extremes12_asm(r0, r1, r2):  # address, n << 5 | stride, acc
    mov(r4, r8)
    mov(r5, r9)
    mov(r6, r10)
    mov(r7, r11)
    push({r4, r5, r6, r7})
    mov(r3, r2)
    lsr(r2, r1, 5)
    ldr(r4, [r3, 28])
    add(r4, r4, r2)
    str(r4, [r3, 28])
    mov(r4, 31)
    and_(r1, r4)
    add(r1, r1, r1)  # step in bytes
    mov(r6, r1)
    add(r4, r1, r1)
    mov(r12, r4)
    mov(r4, 0)
    mov(r10, r4)  # S
    mov(r4, 15)
    mov(r5, r2)
    bic(r2, r4)
    and_(r5, r4)  # samples after the last group
    mul(r2, r1)
    add(r4, r2, r0)  # end of the groups of 16
    push({r3, r4, r5, r6})  # [sp] acc, end, rest, step: SCAN reads them
    mov(r2, r6)
    mov(r1, 0)
    bl(SCAN)
    label(BLOCK)  # at most 256 samples, so that r8 <= 256 * 4095**2 < 2**32
    data(2, 0x9901)  # ldr r1, [sp, 4]
    sub(r1, r1, r0)
    bne(MORE)
    b(REST)
    label(MORE)
    lsl(r2, r6, 8)
    cmp(r1, r2)
    bls(SHORT)
    mov(r1, r2)
    label(SHORT)
    add(r1, r1, r0)
    mov(r11, r1)
    mov(r1, 0)
    mov(r8, r1)
    cmp(r6, 2)
    bne(STRIDED)
    tst(r0, r6)
    bne(STRIDED)
    label(GROUP)  # ldm r0!, {r1, r2}; for each word, w in r1:
    # add r7, r1, r3; orr r5, r7; sub r7, r4, r1; orr r5, r7 (bits 15 and 31: out of bounds);
    # add r9, r1; lsr r7, r1, 16; mul r7, r7; add r8, r7; uxth r1, r1; mul r1, r1; add r8, r1
    data(2, 0xC806)
    data(2, 0x18CD, 0x1A67, 0x433D, 0x4689, 0x0C0F, 0x437F, 0x44B8, 0xB289, 0x4349, 0x4488)
    data(2, 0x18D7, 0x433D, 0x1AA7, 0x433D, 0x4491, 0x0C17, 0x437F, 0x44B8, 0xB292, 0x4352, 0x4490)
    data(2, 0xC806)
    data(2, 0x18CF, 0x433D, 0x1A67, 0x433D, 0x4489, 0x0C0F, 0x437F, 0x44B8, 0xB289, 0x4349, 0x4488)
    data(2, 0x18D7, 0x433D, 0x1AA7, 0x433D, 0x4491, 0x0C17, 0x437F, 0x44B8, 0xB292, 0x4352, 0x4490)
    data(2, 0xC806)
    data(2, 0x18CF, 0x433D, 0x1A67, 0x433D, 0x4489, 0x0C0F, 0x437F, 0x44B8, 0xB289, 0x4349, 0x4488)
    data(2, 0x18D7, 0x433D, 0x1AA7, 0x433D, 0x4491, 0x0C17, 0x437F, 0x44B8, 0xB292, 0x4352, 0x4490)
    data(2, 0xC806)
    data(2, 0x18CF, 0x433D, 0x1A67, 0x433D, 0x4489, 0x0C0F, 0x437F, 0x44B8, 0xB289, 0x4349, 0x4488)
    data(2, 0x18D7, 0x433D, 0x1AA7, 0x433D, 0x4491, 0x0C17, 0x437F, 0x44B8, 0xB292, 0x4352, 0x4490)
    # mov r1, r9; lsr r2, r1, 16; add r10, r2; uxth r1, r1; add r10, r1; lsl r1, r5, 16;
    # orr r1, r5
    data(2, 0x4649, 0x0C0A, 0x4492, 0xB289, 0x448A, 0x0429, 0x4329)
    bmi(LOOK)
    label(LOOKED)
    data(2, 0x4558)  # cmp r0, r11
    bne(GROUP)
    b(FLUSH)
    label(LOOK)
    mov(r1, 16)
    mov(r2, r6)
    bl(SCAN)
    b(LOOKED)
    label(STRIDED)  # ldrh r1, [r0]; ldrh r2, [r0, r6]; add r0, r12; lsl r7, r2, 16; orr r7, r1;
    # add r9, r7; mul r1, r1; add r8, r1; mul r2, r2; add r8, r2; then as above, w in r7
    data(
        2,
        0x8801,
        0x5B82,
        0x4460,
        0x0417,
        0x430F,
        0x46B9,
        0x4349,
        0x4488,
        0x4352,
        0x4490,
        0x18FD,
        0x1BE1,
        0x430D,
    )
    data(
        2,
        0x8801,
        0x5B82,
        0x4460,
        0x0417,
        0x430F,
        0x44B9,
        0x4349,
        0x4488,
        0x4352,
        0x4490,
        0x18F9,
        0x430D,
        0x1BE1,
        0x430D,
    )
    data(
        2,
        0x8801,
        0x5B82,
        0x4460,
        0x0417,
        0x430F,
        0x44B9,
        0x4349,
        0x4488,
        0x4352,
        0x4490,
        0x18F9,
        0x430D,
        0x1BE1,
        0x430D,
    )
    data(
        2,
        0x8801,
        0x5B82,
        0x4460,
        0x0417,
        0x430F,
        0x44B9,
        0x4349,
        0x4488,
        0x4352,
        0x4490,
        0x18F9,
        0x430D,
        0x1BE1,
        0x430D,
    )
    data(
        2,
        0x8801,
        0x5B82,
        0x4460,
        0x0417,
        0x430F,
        0x44B9,
        0x4349,
        0x4488,
        0x4352,
        0x4490,
        0x18F9,
        0x430D,
        0x1BE1,
        0x430D,
    )
    data(
        2,
        0x8801,
        0x5B82,
        0x4460,
        0x0417,
        0x430F,
        0x44B9,
        0x4349,
        0x4488,
        0x4352,
        0x4490,
        0x18F9,
        0x430D,
        0x1BE1,
        0x430D,
    )
    data(
        2,
        0x8801,
        0x5B82,
        0x4460,
        0x0417,
        0x430F,
        0x44B9,
        0x4349,
        0x4488,
        0x4352,
        0x4490,
        0x18F9,
        0x430D,
        0x1BE1,
        0x430D,
    )
    data(
        2,
        0x8801,
        0x5B82,
        0x4460,
        0x0417,
        0x430F,
        0x44B9,
        0x4349,
        0x4488,
        0x4352,
        0x4490,
        0x18F9,
        0x430D,
        0x1BE1,
        0x430D,
    )
    data(2, 0x4649, 0x0C0A, 0x4492, 0xB289, 0x448A, 0x0429, 0x4329)
    bmi(S_LOOK)
    label(S_LOOKED)
    data(2, 0x4558)  # cmp r0, r11
    bne(STRIDED)
    label(FLUSH)
    data(2, 0x9F00)  # ldr r7, [sp, 0]
    ldr(r1, [r7, 8])
    mov(r2, r8)
    add(r1, r1, r2)
    str(r1, [r7, 8])
    ldr(r1, [r7, 12])
    mov(r2, 0)
    adc(r1, r2)
    str(r1, [r7, 12])
    b(BLOCK)
    label(S_LOOK)
    mov(r1, 16)
    mov(r2, r6)
    bl(SCAN)
    b(S_LOOKED)

    label(SCAN)  # extremes and rails of the r1 samples of step r2 before r0; then the bounds
    push({r0, r14})
    mov(r9, r2)
    mul(r2, r1)
    mov(r1, r0)
    data(2, 0x9F02)  # ldr r7, [sp, 8], acc
    ldr(r5, [r7, 16])
    ldr(r6, [r7, 20])
    lsr(r3, r5, 16)  # first code above the lower rail
    lsr(r4, r6, 16)  # last code below the upper rail
    data(2, 0xB2AD, 0xB2B6)  # uxth r5, r5, the minimum; uxth r6, r6, the maximum
    sub(r0, r0, r2)
    b(SCAN_IF)
    label(NEW_LOW)
    mov(r5, r7)
    cmp(r7, r6)  # the first sample of all is both
    bls(SCAN_IF)
    label(NEW_HIGH)
    mov(r6, r7)
    label(SCAN_IF)
    cmp(r0, r1)
    beq(SCANNED)
    label(SCAN_ONE)
    ldrh(r7, [r0, 0])
    data(2, 0x4448)  # add r0, r9
    cmp(r7, r5)
    bcc(NEW_LOW)
    cmp(r7, r6)
    bhi(NEW_HIGH)
    cmp(r0, r1)
    bne(SCAN_ONE)
    label(SCANNED)
    cmp(r5, r3)
    bcc(COUNT)
    cmp(r6, r4)
    bls(NO_RAILS)
    label(COUNT)
    sub(r0, r0, r2)
    mov(r2, 0)
    b(COUNT_IF)
    label(COUNT_ONE)
    ldrh(r7, [r0, 0])
    data(2, 0x4448)  # add r0, r9
    cmp(r7, r3)
    bcc(RAIL)
    cmp(r7, r4)
    bls(COUNT_IF)
    label(RAIL)
    add(r2, 1)
    label(COUNT_IF)
    cmp(r0, r1)
    bne(COUNT_ONE)
    data(2, 0x9F02)
    ldr(r1, [r7, 24])
    add(r1, r1, r2)
    str(r1, [r7, 24])
    label(NO_RAILS)
    data(2, 0x9F02)
    lsl(r1, r3, 16)
    orr(r1, r5)
    str(r1, [r7, 16])
    lsl(r1, r4, 16)
    orr(r1, r6)
    str(r1, [r7, 20])
    cmp(r3, r5)
    bcs(LOW_BOUND)
    mov(r3, r5)
    label(LOW_BOUND)
    cmp(r4, r6)
    bls(HIGH_BOUND)
    mov(r4, r6)
    label(HIGH_BOUND)
    mov(r1, 1)
    lsl(r1, r1, 12)
    cmp(r3, r1)
    bls(SEEN)
    mov(r3, r1)  # nothing seen yet: every sample is below 4096
    label(SEEN)
    lsl(r1, r1, 3)
    sub(r2, r1, 1)  # 0x7FFF
    add(r3, r3, r2)
    sub(r4, r2, r4)
    lsl(r1, r3, 16)
    add(r1, r1, r3)
    lsl(r2, r4, 16)
    add(r3, r2, r4)  # 0x7FFF - upper bound, in both halves
    mov(r4, r1)  # 0x7FFF + lower bound, in both halves
    data(2, 0x9E05)  # ldr r6, [sp, 20], step
    pop({r0, r15})

    label(REST)  # fewer than 16
    data(2, 0x9D02)  # ldr r5, [sp, 8]
    mov(r1, r5)
    mov(r8, r5)
    mul(r5, r6)
    add(r0, r0, r5)
    mov(r2, r6)
    bl(SCAN)
    pop({r3, r4, r5, r6})
    mov(r4, r10)
    mov(r7, 0)
    mov(r2, r8)
    cmp(r2, 0)
    beq(DONE)
    label(ONE)  # backwards
    sub(r0, r0, r6)
    ldrh(r1, [r0, 0])
    add(r4, r4, r1)
    mul(r1, r1)
    add(r7, r7, r1)
    sub(r2, 1)
    bne(ONE)
    label(DONE)
    ldr(r0, [r3, 0])
    ldr(r1, [r3, 4])
    add(r0, r0, r4)
    adc(r1, r2)
    str(r0, [r3, 0])
    str(r1, [r3, 4])
    ldr(r0, [r3, 8])
    ldr(r1, [r3, 12])
    add(r0, r0, r7)
    adc(r1, r2)
    str(r0, [r3, 8])
    str(r1, [r3, 12])
    ldr(r0, [r3, 16])
    data(2, 0xB280)
    str(r0, [r3, 16])
    ldr(r0, [r3, 20])
    data(2, 0xB280)
    str(r0, [r3, 20])
    pop({r4, r5, r6, r7})
    mov(r8, r4)
    mov(r9, r5)
    mov(r10, r6)
    mov(r11, r7)
