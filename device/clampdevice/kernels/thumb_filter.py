"""Products, linearisation, biquad and Goertzel in ARMv6-M assembler.

As thumb_sums12.py, to whose header the same holds. Imported by the package's `__init__` only.
"""

import micropython


@micropython.asm_thumb
def biquad_asm(r0, r1, r2, r3):  # address, n << 5 | stride, coefficients, state of one section
    mov(r4, r8)
    mov(r5, r9)
    mov(r6, r10)
    mov(r7, r11)
    push({r4, r5, r6, r7})
    lsr(r4, r1, 5)
    mov(r5, 31)
    and_(r1, r5)
    add(r1, r1, r1)  # step in bytes
    mul(r4, r1)
    add(r4, r4, r0)  # end
    push({r1, r3, r4})
    ldr(r4, [r2, 0])
    mov(r8, r4)  # b0
    ldr(r4, [r2, 4])
    mov(r9, r4)  # b1
    ldr(r4, [r2, 8])
    mov(r10, r4)  # b2
    ldr(r4, [r2, 12])
    mov(r11, r4)  # a1
    ldr(r4, [r2, 16])
    mov(r12, r4)  # a2
    ldr(r4, [r3, 20])
    mov(r14, r4)  # bias
    ldr(r1, [r3, 8])  # y1
    ldr(r2, [r3, 12])  # y2
    ldr(r5, [r3, 16])  # what the last rounding left
    ldr(r4, [r3, 4])  # x2
    ldr(r3, [r3, 0])  # x1
    b(IF)
    label(ONE)
    ldrh(r6, [r0, 0])
    mov(r7, r14)
    sub(r6, r6, r7)
    # mov r7, coefficient; mul r7, value; add r5, r7 or sub r5, r7
    data(2, 0x4647, 0x4377, 0x19ED)
    data(2, 0x464F, 0x435F, 0x19ED)
    data(2, 0x4657, 0x4367, 0x19ED)
    data(2, 0x465F, 0x434F, 0x1BED)
    data(2, 0x4667, 0x4357, 0x1BED)
    mov(r4, r3)
    mov(r3, r6)
    mov(r2, r1)
    asr(r1, r5, 14)
    lsl(r5, r5, 18)
    lsr(r5, r5, 18)
    mov(r7, r14)
    add(r7, r7, r1)
    lsr(r6, r7, 16)
    bne(CLIP)
    label(STORE)
    strh(r7, [r0, 0])
    data(2, 0x9F00)  # ldr r7, [sp, 0]
    add(r0, r0, r7)
    label(IF)
    data(2, 0x9F02)  # ldr r7, [sp, 8]
    cmp(r0, r7)
    bne(ONE)
    pop({r6, r7})
    str(r3, [r7, 0])
    str(r4, [r7, 4])
    str(r1, [r7, 8])
    str(r2, [r7, 12])
    str(r5, [r7, 16])
    pop({r0})
    pop({r4, r5, r6, r7})
    mov(r8, r4)
    mov(r9, r5)
    mov(r10, r6)
    mov(r11, r7)
    mov(r0, 0)  # a larger result would be allocated
    b(END)
    label(CLIP)
    asr(r7, r7, 31)
    mvn(r7, r7)
    data(2, 0xB2BF)  # uxth r7, r7: 0 if it was negative, else 65535
    mov(r6, r14)
    sub(r1, r7, r6)
    mov(r5, 0)
    b(STORE)
    label(END)


@micropython.asm_thumb
def goertzel_asm(r0, r1, r2, r3):  # address, n << 5 | stride, coefficients, state
    push({r3})
    mov(r4, r8)
    mov(r5, r9)
    mov(r6, r11)
    push({r4, r5, r6})
    lsr(r4, r1, 5)
    mov(r5, 31)
    and_(r1, r5)
    add(r1, r1, r1)  # step in bytes
    mov(r5, r4)
    mul(r4, r1)
    add(r4, r4, r0)
    mov(r9, r4)  # end
    mov(r6, 3)
    bic(r5, r6)
    mul(r5, r1)
    add(r5, r5, r0)
    mov(r11, r5)  # end of the groups of 4
    ldr(r4, [r3, 8])
    neg(r4, r4)
    mov(r8, r4)  # -bias
    ldr(r5, [r3, 0])  # s
    ldr(r6, [r3, 4])  # d
    ldr(r3, [r2, 4])  # shift before
    ldr(r4, [r2, 8])  # shift after
    ldr(r2, [r2, 0])  # e
    b(IF)
    label(GROUP)  # mov r7, r5; asr r7, r3; mul r7, r2; asr r7, r4; sub r6, r7; ldrh r7, [r0];
    # add r0, r1; add r6, r7; add r6, r8; add r5, r6
    data(2, 0x462F, 0x411F, 0x4357, 0x4127, 0x1BF6, 0x8807, 0x1840, 0x19F6, 0x4446, 0x19AD)
    data(2, 0x462F, 0x411F, 0x4357, 0x4127, 0x1BF6, 0x8807, 0x1840, 0x19F6, 0x4446, 0x19AD)
    data(2, 0x462F, 0x411F, 0x4357, 0x4127, 0x1BF6, 0x8807, 0x1840, 0x19F6, 0x4446, 0x19AD)
    data(2, 0x462F, 0x411F, 0x4357, 0x4127, 0x1BF6, 0x8807, 0x1840, 0x19F6, 0x4446, 0x19AD)
    label(IF)
    data(2, 0x4558)  # cmp r0, r11
    bne(GROUP)
    b(ONE_IF)
    label(ONE)
    data(2, 0x462F, 0x411F, 0x4357, 0x4127, 0x1BF6, 0x8807, 0x1840, 0x19F6, 0x4446, 0x19AD)
    label(ONE_IF)
    data(2, 0x4548)  # cmp r0, r9
    bne(ONE)
    pop({r1, r2, r4})
    mov(r8, r1)
    mov(r9, r2)
    mov(r11, r4)
    pop({r3})
    str(r5, [r3, 0])
    str(r6, [r3, 4])
    mov(r0, 0)  # a larger result would be allocated


@micropython.asm_thumb
def cross_asm(r0, r1, r2, r3):  # address of a, n << 5 | stride, bytes from a to b, out
    push({r3})
    mov(r4, r11)
    push({r4})
    lsr(r5, r1, 5)
    ldr(r4, [r3, 8])
    add(r4, r4, r5)
    str(r4, [r3, 8])
    mov(r4, 31)
    and_(r1, r4)
    add(r1, r1, r1)
    mov(r4, 7)
    mov(r7, r5)
    bic(r7, r4)
    mul(r7, r1)
    add(r7, r7, r0)
    mov(r11, r7)  # end of the groups of 8
    and_(r5, r4)
    mov(r12, r5)
    mov(r3, 0)
    mov(r5, 0)
    mov(r6, 0)
    b(IF)
    label(
        GROUP
    )  # ldrh r4, [r0]; ldrh r7, [r0, r2]; add r0, r1; mul r4, r7; add r5, r4; adc r6, r3
    data(2, 0x8804, 0x5A87, 0x1840, 0x437C, 0x192D, 0x415E)
    data(2, 0x8804, 0x5A87, 0x1840, 0x437C, 0x192D, 0x415E)
    data(2, 0x8804, 0x5A87, 0x1840, 0x437C, 0x192D, 0x415E)
    data(2, 0x8804, 0x5A87, 0x1840, 0x437C, 0x192D, 0x415E)
    data(2, 0x8804, 0x5A87, 0x1840, 0x437C, 0x192D, 0x415E)
    data(2, 0x8804, 0x5A87, 0x1840, 0x437C, 0x192D, 0x415E)
    data(2, 0x8804, 0x5A87, 0x1840, 0x437C, 0x192D, 0x415E)
    data(2, 0x8804, 0x5A87, 0x1840, 0x437C, 0x192D, 0x415E)
    label(IF)
    data(2, 0x4558)  # cmp r0, r11
    bne(GROUP)
    mov(r4, r12)
    mul(r4, r1)
    add(r4, r4, r0)
    mov(r11, r4)
    b(ONE_IF)
    label(ONE)
    data(2, 0x8804, 0x5A87, 0x1840, 0x437C, 0x192D, 0x415E)
    label(ONE_IF)
    data(2, 0x4558)  # cmp r0, r11
    bne(ONE)
    pop({r4})
    mov(r11, r4)
    pop({r3})
    ldr(r0, [r3, 0])
    ldr(r1, [r3, 4])
    add(r0, r0, r5)
    adc(r1, r6)
    str(r0, [r3, 0])
    str(r1, [r3, 4])
    mov(r0, 0)  # a larger result would be allocated


@micropython.asm_thumb
def linearise_asm(r0, r1, r2):  # address, n << 5 | stride, table
    lsr(r5, r1, 5)
    mov(r4, 31)
    and_(r1, r4)
    add(r1, r1, r1)
    mov(r3, 3)
    mov(r6, r5)
    bic(r6, r3)
    mul(r6, r1)
    add(r6, r6, r0)  # end of the groups of 4
    mul(r5, r1)
    add(r5, r5, r0)  # end
    b(IF)
    label(GROUP)  # ldrh r4, [r0]; lsl r4, r4, 1; ldrh r4, [r2, r4]; strh r4, [r0]; add r0, r1
    data(2, 0x8804, 0x0064, 0x5B14, 0x8004, 0x1840)
    data(2, 0x8804, 0x0064, 0x5B14, 0x8004, 0x1840)
    data(2, 0x8804, 0x0064, 0x5B14, 0x8004, 0x1840)
    data(2, 0x8804, 0x0064, 0x5B14, 0x8004, 0x1840)
    label(IF)
    cmp(r0, r6)
    bne(GROUP)
    b(ONE_IF)
    label(ONE)
    data(2, 0x8804, 0x0064, 0x5B14, 0x8004, 0x1840)
    label(ONE_IF)
    cmp(r0, r5)
    bne(ONE)
    mov(r0, 0)  # a larger result would be allocated
