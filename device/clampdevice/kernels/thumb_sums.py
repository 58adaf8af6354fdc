"""Sums of 16-bit and of linearised samples, and products, in ARMv6-M assembler.

As thumb_sums12.py, to whose header the same holds; here for samples of all 16 bits, and for
12-bit samples read through a table of up to 14 bits. Imported by the package's `__init__` only.
"""

import micropython


@micropython.asm_thumb
def sums_asm(r0, r1, r2):  # address, n << 5 | stride, acc
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
    push({r2})
    mov(r5, 0)  # Q, low word
    mov(r6, 0)  # Q, high word
    mov(r8, r5)  # S
    cmp(r1, 2)
    bne(STRIDED)
    cmp(r3, 17)
    bcc(STRIDED)
    mov(r4, 2)  # contiguous: two samples a word, so aligned to 4
    tst(r0, r4)
    beq(ALIGNED)
    ldrh(r5, [r0, 0])
    mov(r8, r5)
    mul(r5, r5)
    add(r0, 2)
    sub(r3, 1)
    label(ALIGNED)
    lsr(r4, r3, 4)
    lsl(r4, r4, 5)
    add(r4, r4, r0)
    mov(r11, r4)
    mov(r4, 15)
    and_(r3, r4)
    mov(r9, r3)
    mov(r7, 0)
    label(GROUP)  # 16 samples: ldm r0!, words; for each word, w in r1:
    # lsr r4, r1, 16; add r8, r4; mul r4, r4; add r5, r4; adc r6, r7; uxth r1, r1; add r8, r1;
    # mul r1, r1; add r5, r1; adc r6, r7
    data(2, 0xC80E)
    data(2, 0x0C0C, 0x44A0, 0x4364, 0x192D, 0x417E, 0xB289, 0x4488, 0x4349, 0x186D, 0x417E)
    data(2, 0x0C14, 0x44A0, 0x4364, 0x192D, 0x417E, 0xB292, 0x4490, 0x4352, 0x18AD, 0x417E)
    data(2, 0x0C1C, 0x44A0, 0x4364, 0x192D, 0x417E, 0xB29B, 0x4498, 0x435B, 0x18ED, 0x417E)
    data(2, 0xC80E)
    data(2, 0x0C0C, 0x44A0, 0x4364, 0x192D, 0x417E, 0xB289, 0x4488, 0x4349, 0x186D, 0x417E)
    data(2, 0x0C14, 0x44A0, 0x4364, 0x192D, 0x417E, 0xB292, 0x4490, 0x4352, 0x18AD, 0x417E)
    data(2, 0x0C1C, 0x44A0, 0x4364, 0x192D, 0x417E, 0xB29B, 0x4498, 0x435B, 0x18ED, 0x417E)
    data(2, 0xC806)
    data(2, 0x0C0C, 0x44A0, 0x4364, 0x192D, 0x417E, 0xB289, 0x4488, 0x4349, 0x186D, 0x417E)
    data(2, 0x0C14, 0x44A0, 0x4364, 0x192D, 0x417E, 0xB292, 0x4490, 0x4352, 0x18AD, 0x417E)
    data(2, 0x4558)  # cmp r0, r11
    bne(GROUP)
    mov(r3, r9)
    mov(r1, 2)
    label(STRIDED)
    add(r2, r1, r1)
    mov(r4, 15)
    mov(r7, r3)
    and_(r7, r4)
    mov(r9, r7)
    bic(r3, r4)
    mul(r3, r1)
    add(r3, r3, r0)
    mov(r11, r3)
    mov(r3, 0)
    b(S_IF)
    label(S_GROUP)  # ldrh r4, [r0]; ldrh r7, [r0, r1]; add r0, r2; add r8, r4; add r8, r7;
    # mul r4, r4; mul r7, r7; add r5, r4; adc r6, r3; add r5, r7; adc r6, r3
    data(2, 0x8804, 0x5A47, 0x1880, 0x44A0, 0x44B8, 0x4364, 0x437F, 0x192D, 0x415E, 0x19ED, 0x415E)
    data(2, 0x8804, 0x5A47, 0x1880, 0x44A0, 0x44B8, 0x4364, 0x437F, 0x192D, 0x415E, 0x19ED, 0x415E)
    data(2, 0x8804, 0x5A47, 0x1880, 0x44A0, 0x44B8, 0x4364, 0x437F, 0x192D, 0x415E, 0x19ED, 0x415E)
    data(2, 0x8804, 0x5A47, 0x1880, 0x44A0, 0x44B8, 0x4364, 0x437F, 0x192D, 0x415E, 0x19ED, 0x415E)
    data(2, 0x8804, 0x5A47, 0x1880, 0x44A0, 0x44B8, 0x4364, 0x437F, 0x192D, 0x415E, 0x19ED, 0x415E)
    data(2, 0x8804, 0x5A47, 0x1880, 0x44A0, 0x44B8, 0x4364, 0x437F, 0x192D, 0x415E, 0x19ED, 0x415E)
    data(2, 0x8804, 0x5A47, 0x1880, 0x44A0, 0x44B8, 0x4364, 0x437F, 0x192D, 0x415E, 0x19ED, 0x415E)
    data(2, 0x8804, 0x5A47, 0x1880, 0x44A0, 0x44B8, 0x4364, 0x437F, 0x192D, 0x415E, 0x19ED, 0x415E)
    label(S_IF)
    data(2, 0x4558)  # cmp r0, r11
    bne(S_GROUP)
    mov(r2, r9)
    b(ONE_IF)
    label(ONE)
    ldrh(r4, [r0, 0])
    add(r0, r0, r1)
    mov(r7, r8)
    add(r7, r7, r4)
    mov(r8, r7)
    mul(r4, r4)
    add(r5, r5, r4)
    adc(r6, r3)
    sub(r2, 1)
    label(ONE_IF)
    cmp(r2, 0)
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
    pop({r4, r5, r6, r7})
    mov(r8, r4)
    mov(r9, r5)
    mov(r10, r6)
    mov(r11, r7)


@micropython.asm_thumb
def sums_lut_asm(r0, r1, r2, r3):  # address, n << 5 | stride, table, acc
    push({r3})
    mov(r4, r8)
    mov(r5, r9)
    mov(r6, r10)
    mov(r7, r11)
    push({r4, r5, r6, r7})
    mov(r7, r3)
    lsr(r3, r1, 5)
    ldr(r4, [r7, 28])
    add(r4, r4, r3)
    str(r4, [r7, 28])
    mov(r4, 31)
    and_(r1, r4)
    add(r1, r1, r1)
    mov(r4, r1)  # step in bytes
    mov(r1, r2)
    mov(r2, r4)
    mov(r5, 0)  # Q of a group: 16 * 16383**2 < 2**32
    mov(r6, 0)  # Q, low word
    mov(r7, 0)  # Q, high word
    mov(r8, r5)  # S
    cmp(r2, 2)
    bne(STRIDED)
    cmp(r3, 17)
    bcc(STRIDED)
    mov(r4, 2)
    tst(r0, r4)
    beq(ALIGNED)
    ldrh(r4, [r0, 0])
    lsl(r4, r4, 1)
    data(2, 0x5B0C)  # ldrh r4, [r1, r4]
    mov(r8, r4)
    mul(r4, r4)
    mov(r6, r4)
    add(r0, 2)
    sub(r3, 1)
    label(ALIGNED)
    lsr(r4, r3, 4)
    lsl(r4, r4, 5)
    add(r4, r4, r0)
    mov(r11, r4)
    mov(r4, 15)
    and_(r3, r4)
    mov(r9, r3)
    label(GROUP)  # 16 samples: ldm r0!, {r2, r3}; for each word, w in r2:
    # lsr r4, r2, 15; ldrh r4, [r1, r4]; add r8, r4; mul r4, r4; add r5, r4;
    # lsl r2, r2, 16; lsr r2, r2, 15; ldrh r2, [r1, r2]; add r8, r2; mul r2, r2; add r5, r2
    data(2, 0xC80C)
    data(2, 0x0BD4, 0x5B0C, 0x44A0, 0x4364, 0x192D, 0x0412, 0x0BD2, 0x5A8A, 0x4490, 0x4352, 0x18AD)
    data(2, 0x0BDC, 0x5B0C, 0x44A0, 0x4364, 0x192D, 0x041B, 0x0BDB, 0x5ACB, 0x4498, 0x435B, 0x18ED)
    data(2, 0xC80C)
    data(2, 0x0BD4, 0x5B0C, 0x44A0, 0x4364, 0x192D, 0x0412, 0x0BD2, 0x5A8A, 0x4490, 0x4352, 0x18AD)
    data(2, 0x0BDC, 0x5B0C, 0x44A0, 0x4364, 0x192D, 0x041B, 0x0BDB, 0x5ACB, 0x4498, 0x435B, 0x18ED)
    data(2, 0xC80C)
    data(2, 0x0BD4, 0x5B0C, 0x44A0, 0x4364, 0x192D, 0x0412, 0x0BD2, 0x5A8A, 0x4490, 0x4352, 0x18AD)
    data(2, 0x0BDC, 0x5B0C, 0x44A0, 0x4364, 0x192D, 0x041B, 0x0BDB, 0x5ACB, 0x4498, 0x435B, 0x18ED)
    data(2, 0xC80C)
    data(2, 0x0BD4, 0x5B0C, 0x44A0, 0x4364, 0x192D, 0x0412, 0x0BD2, 0x5A8A, 0x4490, 0x4352, 0x18AD)
    data(2, 0x0BDC, 0x5B0C, 0x44A0, 0x4364, 0x192D, 0x041B, 0x0BDB, 0x5ACB, 0x4498, 0x435B, 0x18ED)
    add(r6, r6, r5)
    mov(r5, 0)
    adc(r7, r5)
    data(2, 0x4558)  # cmp r0, r11
    bne(GROUP)
    mov(r3, r9)
    mov(r2, 2)
    label(STRIDED)
    add(r4, r2, r2)
    mov(r12, r4)
    mov(r4, 15)
    mov(r9, r3)
    bic(r3, r4)
    mul(r3, r2)
    add(r3, r3, r0)
    mov(r11, r3)
    b(S_IF)
    label(S_GROUP)  # ldrh r4, [r0]; ldrh r3, [r0, r2]; add r0, r12; lsl r4, r4, 1;
    # ldrh r4, [r1, r4]; lsl r3, r3, 1; ldrh r3, [r1, r3]; add r8, r4; add r8, r3;
    # mul r4, r4; mul r3, r3; add r5, r4; add r5, r3
    data(
        2,
        0x8804,
        0x5A83,
        0x4460,
        0x0064,
        0x5B0C,
        0x005B,
        0x5ACB,
        0x44A0,
        0x4498,
        0x4364,
        0x435B,
        0x192D,
        0x18ED,
    )
    data(
        2,
        0x8804,
        0x5A83,
        0x4460,
        0x0064,
        0x5B0C,
        0x005B,
        0x5ACB,
        0x44A0,
        0x4498,
        0x4364,
        0x435B,
        0x192D,
        0x18ED,
    )
    data(
        2,
        0x8804,
        0x5A83,
        0x4460,
        0x0064,
        0x5B0C,
        0x005B,
        0x5ACB,
        0x44A0,
        0x4498,
        0x4364,
        0x435B,
        0x192D,
        0x18ED,
    )
    data(
        2,
        0x8804,
        0x5A83,
        0x4460,
        0x0064,
        0x5B0C,
        0x005B,
        0x5ACB,
        0x44A0,
        0x4498,
        0x4364,
        0x435B,
        0x192D,
        0x18ED,
    )
    data(
        2,
        0x8804,
        0x5A83,
        0x4460,
        0x0064,
        0x5B0C,
        0x005B,
        0x5ACB,
        0x44A0,
        0x4498,
        0x4364,
        0x435B,
        0x192D,
        0x18ED,
    )
    data(
        2,
        0x8804,
        0x5A83,
        0x4460,
        0x0064,
        0x5B0C,
        0x005B,
        0x5ACB,
        0x44A0,
        0x4498,
        0x4364,
        0x435B,
        0x192D,
        0x18ED,
    )
    data(
        2,
        0x8804,
        0x5A83,
        0x4460,
        0x0064,
        0x5B0C,
        0x005B,
        0x5ACB,
        0x44A0,
        0x4498,
        0x4364,
        0x435B,
        0x192D,
        0x18ED,
    )
    data(
        2,
        0x8804,
        0x5A83,
        0x4460,
        0x0064,
        0x5B0C,
        0x005B,
        0x5ACB,
        0x44A0,
        0x4498,
        0x4364,
        0x435B,
        0x192D,
        0x18ED,
    )
    add(r6, r6, r5)
    mov(r5, 0)
    adc(r7, r5)
    label(S_IF)
    data(2, 0x4558)  # cmp r0, r11
    bne(S_GROUP)
    mov(r3, r9)
    mov(r4, 15)
    and_(r3, r4)
    beq(DONE)
    label(ONE)
    ldrh(r4, [r0, 0])
    add(r0, r0, r2)
    lsl(r4, r4, 1)
    data(2, 0x5B0C, 0x44A0)  # ldrh r4, [r1, r4]; add r8, r4
    mul(r4, r4)
    add(r5, r5, r4)
    sub(r3, 1)
    bne(ONE)
    add(r6, r6, r5)
    mov(r5, 0)
    adc(r7, r5)
    label(DONE)
    mov(r12, r8)
    mov(r0, r6)
    mov(r1, r7)
    pop({r4, r5, r6, r7})
    mov(r8, r4)
    mov(r9, r5)
    mov(r10, r6)
    mov(r11, r7)
    pop({r2})
    ldr(r3, [r2, 8])
    add(r0, r0, r3)
    ldr(r3, [r2, 12])
    adc(r1, r3)
    str(r0, [r2, 8])
    str(r1, [r2, 12])
    mov(r0, r12)
    ldr(r1, [r2, 0])
    add(r0, r0, r1)
    ldr(r1, [r2, 4])
    mov(r3, 0)
    adc(r1, r3)
    str(r0, [r2, 0])
    str(r1, [r2, 4])


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
