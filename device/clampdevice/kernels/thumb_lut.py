"""Linearised sums with extremes and rails, and 16-bit sums with them, in ARMv6-M assembler.

As thumb_extremes.py, to whose header the same holds. Imported by the package's `__init__` only.
"""

import micropython


@micropython.asm_thumb
def lut_extremes_asm(r0, r1, r2, r3):  # address, n << 5 | stride, table, acc
    mov(r4, r8)
    mov(r5, r9)
    mov(r6, r10)
    mov(r7, r11)
    push({r4, r5, r6, r7})
    push({r2})
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
    mov(r11, r4)
    push({r3, r4, r5, r6})  # [sp] acc, end, rest, step, table: SCAN reads them
    mov(r2, r6)
    mov(r1, 0)
    bl(SCAN)
    mov(r9, r3)
    data(2, 0x9B04)  # ldr r3, [sp, 16]
    b(IF)
    label(GROUP)  # ldrh r1, [r0]; ldrh r2, [r0, r6]; add r0, r12; lsl r7, r2, 16; orr r7, r1;
    # lsl r1, r1, 1; ldrh r1, [r3, r1]; lsl r2, r2, 1; ldrh r2, [r3, r2]; add r10, r1;
    # add r10, r2; mul r1, r1; add r8, r1; mul r2, r2; add r8, r2 (16 * 16383**2 < 2**32)
    # mov r1, r7; add r1, r9; orr r5, r1; sub r1, r4, r7; orr r5, r1 (bits 15, 31: out of bounds)
    # The loop is too long for one conditional branch, hence two halves of 8.
    data(
        2,
        0x8801,
        0x5B82,
        0x4460,
        0x0417,
        0x430F,
        0x0049,
        0x5A59,
        0x0052,
        0x5A9A,
        0x448A,
        0x4492,
        0x4349,
        0x4688,
        0x4352,
        0x4490,
    )
    data(2, 0x4639, 0x4449, 0x460D, 0x1BE1, 0x430D)
    data(
        2,
        0x8801,
        0x5B82,
        0x4460,
        0x0417,
        0x430F,
        0x0049,
        0x5A59,
        0x0052,
        0x5A9A,
        0x448A,
        0x4492,
        0x4349,
        0x4488,
        0x4352,
        0x4490,
    )
    data(2, 0x4639, 0x4449, 0x430D, 0x1BE1, 0x430D)
    data(
        2,
        0x8801,
        0x5B82,
        0x4460,
        0x0417,
        0x430F,
        0x0049,
        0x5A59,
        0x0052,
        0x5A9A,
        0x448A,
        0x4492,
        0x4349,
        0x4488,
        0x4352,
        0x4490,
    )
    data(2, 0x4639, 0x4449, 0x430D, 0x1BE1, 0x430D)
    data(
        2,
        0x8801,
        0x5B82,
        0x4460,
        0x0417,
        0x430F,
        0x0049,
        0x5A59,
        0x0052,
        0x5A9A,
        0x448A,
        0x4492,
        0x4349,
        0x4488,
        0x4352,
        0x4490,
    )
    data(2, 0x4639, 0x4449, 0x430D, 0x1BE1, 0x430D)
    data(
        2,
        0x8801,
        0x5B82,
        0x4460,
        0x0417,
        0x430F,
        0x0049,
        0x5A59,
        0x0052,
        0x5A9A,
        0x448A,
        0x4492,
        0x4349,
        0x4488,
        0x4352,
        0x4490,
    )
    data(2, 0x4639, 0x4449, 0x430D, 0x1BE1, 0x430D)
    data(
        2,
        0x8801,
        0x5B82,
        0x4460,
        0x0417,
        0x430F,
        0x0049,
        0x5A59,
        0x0052,
        0x5A9A,
        0x448A,
        0x4492,
        0x4349,
        0x4488,
        0x4352,
        0x4490,
    )
    data(2, 0x4639, 0x4449, 0x430D, 0x1BE1, 0x430D)
    data(
        2,
        0x8801,
        0x5B82,
        0x4460,
        0x0417,
        0x430F,
        0x0049,
        0x5A59,
        0x0052,
        0x5A9A,
        0x448A,
        0x4492,
        0x4349,
        0x4488,
        0x4352,
        0x4490,
    )
    data(2, 0x4639, 0x4449, 0x430D, 0x1BE1, 0x430D)
    data(
        2,
        0x8801,
        0x5B82,
        0x4460,
        0x0417,
        0x430F,
        0x0049,
        0x5A59,
        0x0052,
        0x5A9A,
        0x448A,
        0x4492,
        0x4349,
        0x4488,
        0x4352,
        0x4490,
    )
    data(2, 0x4639, 0x4449, 0x430D, 0x1BE1, 0x430D)
    data(2, 0x9F00)  # ldr r7, [sp, 0]
    ldr(r1, [r7, 8])
    mov(r2, r8)
    add(r1, r1, r2)
    str(r1, [r7, 8])
    ldr(r1, [r7, 12])
    mov(r2, 0)
    adc(r1, r2)
    str(r1, [r7, 12])
    lsl(r1, r5, 16)
    orr(r1, r5)
    bpl(IF)
    mov(r1, 16)
    mov(r2, r6)
    bl(SCAN)
    mov(r9, r3)
    data(2, 0x9B04)
    label(IF)
    data(2, 0x4558)  # cmp r0, r11
    beq(REST)
    b(GROUP)
    label(REST)  # fewer than 16
    data(2, 0x9D02)  # ldr r5, [sp, 8]
    mov(r1, r5)
    mov(r8, r5)
    mul(r5, r6)
    add(r0, r0, r5)
    mov(r2, r6)
    bl(SCAN)
    data(2, 0x9D04)  # ldr r5, [sp, 16]
    pop({r3})
    data(2, 0xB004)  # add sp, 16
    mov(r4, r10)
    mov(r7, 0)
    mov(r2, r8)
    cmp(r2, 0)
    beq(DONE)
    label(ONE)  # backwards
    sub(r0, r0, r6)
    ldrh(r1, [r0, 0])
    lsl(r1, r1, 1)
    data(2, 0x5A69)  # ldrh r1, [r5, r1]
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
    b(END)

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
    label(END)


@micropython.asm_thumb
def extremes16_asm(r0, r1, r2):  # address, n << 5 | stride, acc
    mov(r4, r8)
    mov(r5, r9)
    mov(r6, r10)
    mov(r7, r11)
    push({r4, r5, r6, r7})
    lsr(r3, r1, 5)
    ldr(r4, [r2, 28])
    add(r4, r4, r3)
    str(r4, [r2, 28])
    mov(r4, 31)
    and_(r1, r4)
    add(r1, r1, r1)
    mul(r3, r1)
    add(r3, r3, r0)
    mov(r11, r3)  # end
    push({r2})
    mov(r2, 0)
    mov(r5, 0)  # Q
    mov(r6, 0)
    mov(r8, r2)  # S
    mov(r9, r2)  # bounds: every sample is outside
    mov(r3, 0)
    b(IF)
    label(ONE)
    ldrh(r4, [r0, 0])
    add(r0, r0, r1)
    sub(r7, r4, r3)
    data(2, 0x454F)  # cmp r7, r9
    bcs(LOOK)
    label(LOOKED)
    data(2, 0x44A0)  # add r8, r4
    mul(r4, r4)
    add(r5, r5, r4)
    adc(r6, r2)
    label(IF)
    data(2, 0x4558)  # cmp r0, r11
    bne(ONE)
    pop({r2})
    ldr(r0, [r2, 0])
    ldr(r1, [r2, 4])
    mov(r3, r8)
    mov(r4, 0)
    add(r0, r0, r3)
    adc(r1, r4)
    str(r0, [r2, 0])
    str(r1, [r2, 4])
    ldr(r0, [r2, 8])
    ldr(r1, [r2, 12])
    add(r0, r0, r5)
    adc(r1, r6)
    str(r0, [r2, 8])
    str(r1, [r2, 12])
    ldr(r0, [r2, 16])
    data(2, 0xB280)
    str(r0, [r2, 16])
    ldr(r0, [r2, 20])
    data(2, 0xB280)
    str(r0, [r2, 20])
    pop({r4, r5, r6, r7})
    mov(r8, r4)
    mov(r9, r5)
    mov(r10, r6)
    mov(r11, r7)
    b(END)
    label(LOOK)  # x in r4; r3 and r9 become lower bound and width of what changes nothing
    push({r0, r1, r2, r5})
    data(2, 0x9F04)  # ldr r7, [sp, 16]
    ldr(r0, [r7, 16])
    ldr(r1, [r7, 20])
    data(2, 0xB282, 0xB28D)  # uxth r2, r0, the minimum; uxth r5, r1, the maximum
    lsr(r0, r0, 16)
    lsr(r1, r1, 16)
    cmp(r4, r2)
    bcs(NOT_LOW)
    mov(r2, r4)
    label(NOT_LOW)
    cmp(r4, r5)
    bls(NOT_HIGH)
    mov(r5, r4)
    label(NOT_HIGH)
    cmp(r4, r0)
    bcc(RAIL)
    cmp(r4, r1)
    bls(NO_RAIL)
    label(RAIL)
    ldr(r3, [r7, 24])
    add(r3, 1)
    str(r3, [r7, 24])
    label(NO_RAIL)
    lsl(r3, r0, 16)
    orr(r3, r2)
    str(r3, [r7, 16])
    lsl(r3, r1, 16)
    orr(r3, r5)
    str(r3, [r7, 20])
    mov(r3, r0)
    cmp(r0, r2)
    bcs(LOW_BOUND)
    mov(r3, r2)
    label(LOW_BOUND)
    cmp(r1, r5)
    bls(HIGH_BOUND)
    mov(r1, r5)
    label(HIGH_BOUND)
    add(r1, 1)
    sub(r1, r1, r3)
    bcs(SOME)
    mov(r1, 0)
    label(SOME)
    mov(r9, r1)
    pop({r0, r1, r2, r5})
    b(LOOKED)
    label(END)
