# fleet: one read-only visit of a Windows host. The same text on every host and run; what varies comes as arguments:
#   NONCE RUN MODE ITEM...      ITEM = name|when|seconds|bytes|keep|verb|arg|arg...
# It writes no file, no registry value and nothing temporary, installs nothing, and starts nothing but azcmagent.
# For Windows PowerShell 4.0 and 5.1 and PowerShell 7, whatever the language of the host: it looks at numbers and
# identifiers, never at messages. Where the language is constrained it keeps to cmdlets and core types.
Set-StrictMode -Off
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$full = "$($ExecutionContext.SessionState.LanguageMode)" -ceq 'FullLanguage'
$system = 'SYSTEM\CurrentControlSet'
# What sections leave: functions see this table of their caller's, and what they print by accident is dropped.
$visit = @{ code = 0; kept = ''; seconds = 10; agent_hung = $false; wmi_hung = $false }

# Ends a section with its exit code and fixed words.
function Stop-Section($code, $words) { throw @{ code = $code; words = $words } }

# Why an error happened, from the whole chain: an error of .NET arrives wrapped. A bare 5 is Win32's; CIM has codes
# of its own, of which the name is compared.
function Get-Cause($record) {
  $signs = "$($record.FullyQualifiedErrorId) is=$($record.CategoryInfo.Category) "
  for ($one = $record.Exception; $null -ne $one; $one = $one.InnerException) {
    $signs += 'hresult={0:X8} native={1} ' -f $one.HResult, $one.NativeErrorCode
  }
  if ($signs -cmatch '80070005|80041003|is=PermissionDenied|native=(5|AccessDenied) ') { return 'denied' }
  if ($signs -cmatch 'is=OperationTimeout|HRESULT 0x40004\b|80041069') { return 'late' }
  if ($signs -cmatch 'hresult=8007002[01]') { return 'locked' }
  if ($signs -cmatch 'CommandNotFoundException') { return 'failed' }
  if ($signs -cmatch 'hresult=8007000[23]|is=ObjectNotFound') { return 'missing' }
  return 'failed'
}

# The exit code and the words of an error that ends a section.
function Get-Trouble($record) {
  if ($record.TargetObject -is [hashtable]) { return $record.TargetObject }
  $cause = Get-Cause $record
  if ($cause -eq 'denied') { return @{ code = 126; words = 'access denied' } }
  if ($cause -eq 'late') { return @{ code = 124; words = 'no answer in time' } }
  $last = $record.Exception
  while ($null -ne $last.InnerException) { $last = $last.InnerException }
  return @{ code = 1; words = ('{0}, {1} 0x{2:X8}' -f $cause, $record.CategoryInfo.Reason, $last.HResult) }
}

# One value below HKEY_LOCAL_MACHINE, or $null; what may not be read ends the section. Only this value is asked
# for: a damaged one beside it would fail the read of the whole key.
function Get-Value($key, $name) {
  try { return (Get-ItemProperty -LiteralPath "Registry::HKEY_LOCAL_MACHINE\$key" -Name $name).$name }
  catch { if ((Get-Cause $_) -eq 'denied') { throw } }
  return $null
}

# A $null of our own: of a command's missing output ConvertTo-Json of 5.1 makes {}.
function Get-Text($key, $name) {
  $value = Get-Value $key $name
  if ($null -eq $value) { return $null }
  return "$value"
}

function Get-Number($key, $name) {
  $value = Get-Value $key $name
  if ($value -is [int] -or $value -is [long]) { return $value }
  return $null
}

# Asks WMI. Once it was silent until its time was up it is not asked again.
function Get-Cim($namespace, $query) {
  $begun = [datetime]::UtcNow
  try {
    if ($visit['wmi_hung']) { Stop-Section 124 'WMI: no answer in time' }
    Get-CimInstance -Namespace $namespace -Query $query -OperationTimeoutSec $visit['seconds']
  }
  catch {
    if (([datetime]::UtcNow - $begun).TotalSeconds -lt $visit['seconds'] -and (Get-Cause $_) -ne 'late') { throw }
    $visit['wmi_hung'] = $true
    Stop-Section 124 'WMI: no answer in time'
  }
}

# An instant in UTC. Year is Gregorian and -f of whole numbers the same everywhere; a format for dates would follow
# the calendar and the separators of the host's culture.
function Format-Time($when) {
  if ($null -eq $when) { return $null }
  $utc = $when.ToUniversalTime()
  $parts = @($utc.Year, $utc.Month, $utc.Day, $utc.Hour, $utc.Minute, $utc.Second)
  return '{0:0000}-{1:00}-{2:00}T{3:00}:{4:00}:{5:00}Z' -f $parts
}

function Get-Epoch {
  $seconds = ([datetime]::UtcNow - [datetime]'1970-01-01').TotalSeconds
  return [long]($seconds - $seconds % 1)
}

# $true, $false, or $null for what may not be seen. .NET tells that from what is not there; Test-Path says no to
# both, so in a constrained session only an administrator's no is believed.
function Find-Path($path) {
  if (-not $full) {
    if (Test-Path -LiteralPath $path -ErrorAction SilentlyContinue) { return $true }
    if ($who -eq 'admin') { return $false }
    return $null
  }
  try { $null = [IO.File]::GetAttributes($path) }
  catch {
    $cause = Get-Cause $_
    if ($cause -eq 'missing') { return $false }
    if ($cause -eq 'denied') { return $null }
    throw
  }
  return $true
}

function Assert-Path($path) {
  $there = Find-Path $path
  if ($null -eq $there) { Stop-Section 126 "${path}: access denied" }
  if (-not $there) { Stop-Section 1 "${path}: No such file or directory" }
}

# The paths of the folders in a folder, or of the files; hidden ones, too.
function Get-Entries($folder, $kind) {
  Assert-Path $folder
  if ($full -and $kind -eq 'folders') { return [IO.Directory]::GetDirectories($folder) }
  if ($full) { return [IO.Directory]::GetFiles($folder) }
  foreach ($entry in @(Get-ChildItem -LiteralPath $folder -Force)) {
    if ($entry.PSIsContainer -eq ($kind -eq 'folders')) { "$($entry.FullName)" }
  }
}

# The end of a file. Its writer may go on writing, rename it and delete it.
function Read-Tail($path, $bytes) {
  Assert-Path $path
  try {
    if ($full) { $visit['body'] = Get-TailBytes $path $bytes } else { $visit['body'] = Get-TailText $path $bytes }
  }
  catch {
    if ((Get-Cause $_) -eq 'locked') { Stop-Section 1 "${path}: locked by another program" }
    throw
  }
}

# UTF-16 is cut between two of its units, and its mark is put before the rest.
function Get-TailBytes($path, $bytes) {
  $share = [IO.FileShare]'ReadWrite, Delete'
  $file = [IO.File]::Open($path, [IO.FileMode]::Open, [IO.FileAccess]::Read, $share)
  try {
    $tail = New-Object IO.MemoryStream
    $buffer = New-Object byte[] 65536
    $left = $file.Length
    if ($left -gt $bytes) {
      $begin = $left - $bytes
      if ($file.Read($buffer, 0, 2) -eq 2 -and $buffer[0] -eq 0xFF -and $buffer[1] -eq 0xFE) {
        $begin += $begin % 2
        $tail.Write($buffer, 0, 2)
      }
      $null = $file.Seek($begin, [IO.SeekOrigin]::Begin)
      $left -= $begin
    }
    # Up to where the file ended: a log may grow as fast as it is read.
    while ($left -gt 0) {
      $count = $file.Read($buffer, 0, [int][Math]::Min($left, 65536))
      if ($count -le 0) { break }
      $tail.Write($buffer, 0, $count)
      $left -= $count
    }
    # The comma keeps them together; without it a million bytes leave one by one.
    return , $tail.ToArray()
  }
  finally { $file.Dispose() }
}

# A constrained session knows lines of text only. Get-Content shares the file for writing, not for deleting.
function Get-TailText($path, $bytes) {
  $raw = @{ Encoding = 'Byte' }
  if ($PSVersionTable.PSEdition -eq 'Core') { $raw = @{ AsByteStream = $true } }
  $mark = @(Get-Content -LiteralPath $path -TotalCount 2 @raw)
  $encoding = 'UTF8'
  if ($mark.Count -eq 2 -and $mark[0] -eq 0xFF -and $mark[1] -eq 0xFE) { $encoding = 'Unicode' }
  # Few logs have lines shorter than 40 characters on average.
  $lines = @(Get-Content -LiteralPath $path -Tail ([int]($bytes / 40) + 1) -Encoding $encoding)
  return Limit-Text (($lines -join "`n") + "`n") $bytes 'newest'
}

function Limit-Text($text, $most, $keep) {
  if ($text.Length -le $most) { return $text }
  if ($keep -eq 'oldest') { return $text.Substring(0, $most) }
  return $text.Substring($text.Length - $most)
}

function Limit-Bytes($data, $most, $keep) {
  if ($data.Length -le $most) { return , $data }
  $from = 0
  if ($keep -ne 'oldest') { $from = $data.Length - $most }
  $part = New-Object byte[] $most
  [Array]::Copy($data, $from, $part, 0, $most)
  return , $part
}

function Read-Clock {
  $utc = [datetime]::UtcNow
  $minutes = [int]($utc.ToLocalTime() - $utc).TotalMinutes
  $sign = '+'
  if ($minutes -lt 0) { $sign = '-'; $minutes = -$minutes }
  # Some hosts have other bytes behind the end of the name.
  $zone = ("$(Get-Text "$system\Control\TimeZoneInformation" 'TimeZoneKeyName')" -split '\x00')[0]
  $rest = $minutes % 60
  $visit['body'] = '{0}/{1}{2:00}{3:00}/{4}' -f (Get-Epoch), $sign, (($minutes - $rest) / 60), $rest, $zone
}

# The registry is open to every user and CIM is not: what CIM denies stays null.
function Read-Os {
  $key = 'SOFTWARE\Microsoft\Windows NT\CurrentVersion'
  $version = Get-Text $key 'CurrentVersion'
  $major = Get-Number $key 'CurrentMajorVersionNumber'
  if ($null -ne $major) { $version = "$major.$(Get-Number $key 'CurrentMinorVersionNumber')" }
  $build = Get-Text $key 'CurrentBuildNumber'
  $about = @{
    caption = (Get-Text $key 'ProductName'); version = "$version.$build"; build = [int]$build
    revision = (Get-Number $key 'UBR'); edition = (Get-Text $key 'EditionID')
    installation_type = (Get-Text $key 'InstallationType')
    domain_role = $null; domain = $null; part_of_domain = $null; booted_at = $null; language = $null
    powershell = "$($PSVersionTable.PSVersion)"
    language_mode = "$($ExecutionContext.SessionState.LanguageMode)"; name = "$env:COMPUTERNAME"
  }
  $language = Get-Text "$system\Control\Nls\Language" 'InstallLanguage'
  if ($language) { $about['language'] = [int]"0x$language" }
  try {
    $query = 'SELECT Caption,LastBootUpTime,OSLanguage FROM Win32_OperatingSystem'
    foreach ($row in @(Get-Cim 'root\cimv2' $query)) {
      $about['caption'] = "$($row.Caption)".Trim()
      $about['booted_at'] = Format-Time $row.LastBootUpTime
      $about['language'] = [int]$row.OSLanguage
    }
    $query = 'SELECT Domain,DomainRole,PartOfDomain FROM Win32_ComputerSystem'
    foreach ($row in @(Get-Cim 'root\cimv2' $query)) {
      $about['domain'] = "$($row.Domain)"
      $about['domain_role'] = [int]$row.DomainRole
      $about['part_of_domain'] = [bool]$row.PartOfDomain
    }
  }
  catch { $visit['note'] = 'CIM: ' + (Get-Trouble $_)['words'] }
  $visit['json'] = $about
}

# .NET knows the drives without WMI, which not every user may ask.
function Read-Space {
  $found = @()
  if ($full) {
    foreach ($drive in [IO.DriveInfo]::GetDrives()) {
      if ("$($drive.DriveType)" -cne 'Fixed' -or -not $drive.IsReady) { continue }
      $name = $drive.Name.TrimEnd('\')
      $found += @{ drive = $name; free_bytes = $drive.TotalFreeSpace; size_bytes = $drive.TotalSize }
    }
  }
  else {
    $query = 'SELECT DeviceID,FreeSpace,Size FROM Win32_LogicalDisk WHERE DriveType=3'
    foreach ($row in @(Get-Cim 'root\cimv2' $query)) {
      $found += @{ drive = "$($row.DeviceID)"; free_bytes = $row.FreeSpace; size_bytes = $row.Size }
    }
  }
  $visit['json'] = $found
}

function Read-Agent($words, $bytes, $keep) {
  # Only what reads: no item can make this text change a host.
  $line = $words -join ' '
  if (@('show -j', 'show', 'version', 'config list', 'check') -cnotcontains $line) {
    Stop-Section 1 "azcmagent ${line}: not a command that only reads"
  }
  # A 32-bit session finds the 64-bit folder under another name.
  $folder = $env:ProgramW6432
  if (-not $folder) { $folder = $env:ProgramFiles }
  $program = "$folder\AzureConnectedMachineAgent\azcmagent.exe"
  $there = Find-Path $program
  if ($null -eq $there) { Stop-Section 126 "${program}: access denied" }
  if (-not $there) { Stop-Section 127 'azcmagent: not found' }
  if ($full) { Invoke-Program $program $line $bytes $keep }
  else {
    # A constrained session has no means for a time limit, nor against the host's code page. What a program says on
    # stderr would end the section under Stop.
    $ErrorActionPreference = 'Continue'
    $lines = @($null | & $program @words 2>&1 | ForEach-Object { "$_" })
    $visit['code'] = $LASTEXITCODE
    $visit['body'] = Limit-Text (($lines -join "`n") + "`n") $bytes $keep
    if ($keep -eq 'all') { $visit['kept'] = $visit['body'] }
  }
  if ($visit['code'] -lt 0 -or $visit['code'] -gt 255) {
    $visit['note'] = 'azcmagent ended with 0x{0:X8}' -f $visit['code']
    $visit['code'] = 255
  }
}

# Runs a program with stdin closed, takes what it prints as bytes, within bounds, and ends it at its time. It waits
# in short steps, so that a visit that is given up stops here, too, and takes the program along.
function Invoke-Program($program, $line, $bytes, $keep) {
  $start = New-Object Diagnostics.ProcessStartInfo
  $start.FileName = $program
  $start.Arguments = $line
  $start.UseShellExecute = $false
  $start.CreateNoWindow = $true
  $start.RedirectStandardInput = $true
  $start.RedirectStandardOutput = $true
  $start.RedirectStandardError = $true
  $clock = [Diagnostics.Stopwatch]::StartNew()
  $process = [Diagnostics.Process]::Start($start)
  try {
    try { $process.StandardInput.Close() } catch { $null = $_ }
    $out = @{ stream = $process.StandardOutput.BaseStream; memory = (New-Object IO.MemoryStream); open = $true }
    $err = @{ stream = $process.StandardError.BaseStream; memory = (New-Object IO.MemoryStream); open = $true }
    if ($keep -eq 'all') { $err['memory'] = $out['memory'] }
    $open = @($out, $err)
    foreach ($pipe in $open) {
      $pipe['buffer'] = New-Object byte[] 32768
      $pipe['task'] = $pipe['stream'].ReadAsync($pipe['buffer'], 0, 32768)
    }
    while ($open.Count -gt 0 -and $clock.Elapsed.TotalSeconds -lt $visit['seconds']) {
      $tasks = [Threading.Tasks.Task[]]@($open | ForEach-Object { $_['task'] })
      $at = [Threading.Tasks.Task]::WaitAny($tasks, 250)
      if ($at -lt 0) { continue }
      $pipe = $open[$at]
      # A pipe that broke has ended.
      try { $count = $pipe['task'].Result } catch { $count = 0 }
      if ($count -gt 0) {
        # Far more than any honest answer; the rest is read and dropped.
        if ($pipe['memory'].Length -lt 1048576) { $pipe['memory'].Write($pipe['buffer'], 0, $count) }
        $pipe['task'] = $pipe['stream'].ReadAsync($pipe['buffer'], 0, 32768)
      }
      else {
        $pipe['open'] = $false
        $open = @($open | Where-Object { $_['open'] })
      }
    }
    $left = [int][Math]::Max(0, 1000 * $visit['seconds'] - $clock.ElapsedMilliseconds)
    $visit['agent_hung'] = -not $process.WaitForExit($left)
    $visit['code'] = 124
    if (-not $visit['agent_hung']) { $visit['code'] = $process.ExitCode }
    $visit['body'] = Limit-Bytes $out['memory'].ToArray() $bytes $keep
    if ($keep -eq 'all') { $visit['kept'] = [Text.Encoding]::UTF8.GetString($visit['body']) }
    else { $visit['note'] = [Text.Encoding]::UTF8.GetString($err['memory'].ToArray()) }
  }
  finally {
    # It may end by itself in between.
    if (-not $process.HasExited) { try { $process.Kill() } catch { $null = $_ } }
    $process.Dispose()
  }
}

# Whether the status that azcmagent show printed, as text or as JSON, is exactly this one.
function Test-Connected {
  if ($visit['kept'] -cmatch 'Agent Status[ \t]*:[ \t]*(\w*)') { return ($Matches[1] -ceq 'Connected') }
  return ($visit['kept'] -cmatch '"status"[ \t]*:[ \t]*"([^"]*)"' -and $Matches[1] -ceq 'Connected')
}

function Read-Services($names) {
  # Who may not see services is told that there are none. EventLog is on every Windows.
  try { $null = Get-Service -Name EventLog }
  catch {
    if (@('denied', 'missing') -contains (Get-Cause $_)) { Stop-Section 126 'access denied' }
    throw
  }
  $rows = @{}
  $begun = @{}
  try {
    $wanted = @($names | ForEach-Object { "Name='$_'" }) -join ' OR '
    $query = "SELECT Name,ExitCode,ServiceSpecificExitCode,ProcessId FROM Win32_Service WHERE $wanted"
    foreach ($row in @(Get-Cim 'root\cimv2' $query)) { $rows["$($row.Name)"] = $row }
    $wanted = @($rows.Values | ForEach-Object { "ProcessId=$($_.ProcessId)" }) -join ' OR '
    if ($wanted) {
      $query = "SELECT ProcessId,CreationDate FROM Win32_Process WHERE $wanted"
      foreach ($row in @(Get-Cim 'root\cimv2' $query)) { $begun["$($row.ProcessId)"] = $row.CreationDate }
    }
  }
  catch { $visit['note'] = 'CIM: ' + (Get-Trouble $_)['words'] }
  $found = @()
  foreach ($name in $names) {
    $key = "$system\Services\$name"
    $about = @{
      name = $name; start = (Get-Number $key 'Start'); account = (Get-Text $key 'ObjectName')
      delayed = ((Get-Number $key 'DelayedAutostart') -eq 1); status = $null; display_name = $null
      exit_code = $null; service_exit_code = $null; started_at = $null
    }
    # A single service may be hidden by rights of its own: its start in the registry shows that it is there.
    $about['exists'] = $null -ne $about['start']
    try {
      $service = Get-Service -Name $name
      $about['exists'] = $true
      $about['status'] = [int]$service.Status
      $about['display_name'] = "$($service.DisplayName)"
    }
    catch { $null = $_ }
    $row = $rows[$name]
    if ($null -ne $row) {
      $about['exit_code'] = $row.ExitCode
      $about['service_exit_code'] = $row.ServiceSpecificExitCode
      if ($row.ProcessId) { $about['started_at'] = Format-Time $begun["$($row.ProcessId)"] }
    }
    $found += $about
  }
  $visit['json'] = $found
}

# XPath rather than a hashtable: for a hashtable the cmdlet looks up the provider, which fails on some hosts, and
# says "no events" of a log that may not be read.
function Read-Events($log, $provider, $ids, $days, $names) {
  $any = @($ids -split ',' | ForEach-Object { "EventID=$_" }) -join ' or '
  $age = [long]$days * 86400000
  $filter = "*[System[Provider[@Name='$provider'] and ($any) and TimeCreated[timediff(@SystemTime) <= $age]]]"
  $how = @{ LogName = $log; FilterXPath = $filter; MaxEvents = 500; ErrorVariable = 'problems' }
  # An event of which no message can be made is an error, too, and no reason to stop.
  $events = @(Get-WinEvent @how -ErrorAction SilentlyContinue)
  if ($events.Count -eq 0 -and $problems.Count -gt 0) {
    if ("$($problems[0].FullyQualifiedErrorId)" -cnotlike 'NoMatchingEventsFound*') { throw $problems[0] }
  }
  $found = @()
  foreach ($one in $events) {
    $values = @()
    foreach ($property in $one.Properties) {
      if ($property.Value -is [byte[]]) { $values += '' } else { $values += "$($property.Value)" }
    }
    $all = ($values -join "`n").ToLowerInvariant()
    if (-not @($names | Where-Object { $all.Contains($_.ToLowerInvariant()) })) { continue }
    $found += @{ id = [int]$one.Id; at = (Format-Time $one.TimeCreated); properties = $values }
    if ($found.Count -ge 50) { break }
  }
  $visit['json'] = $found
}

# The files of one name in the folders of a folder, each below its path, at most 4096 bytes of each.
function Read-Files($pattern, $bytes) {
  $folder, $name = $pattern -split '\\\*\\'
  $text = ''
  if ($full) { $memory = New-Object IO.MemoryStream }
  foreach ($path in @(Get-Entries $folder 'folders')) {
    $path = "$path\$name"
    # An extension may have no such file yet.
    try { Read-Tail $path 4096 }
    catch {
      $trouble = Get-Trouble $_
      if ($trouble['words'] -cnotlike '*: No such file*') { $visit['note'] = $trouble['words'] }
      continue
    }
    $head = "==> $path <==`n"
    if (-not $full) { $text += $head + $visit['body'] + "`n"; continue }
    $head = [Text.Encoding]::UTF8.GetBytes($head)
    $memory.Write($head, 0, $head.Length)
    $memory.Write($visit['body'], 0, $visit['body'].Length)
    $memory.WriteByte(10)
    if ($memory.Length -ge $bytes) { break }
  }
  $visit['body'] = $text
  if ($full) { $visit['body'] = Limit-Bytes $memory.ToArray() $bytes 'oldest' }
}

# When each certificate in a folder ends, as openssl says it. To open a PFX would write its key: it is only told.
function Read-Certificates($folder) {
  if (-not $full) { Stop-Section 1 'a constrained session reads no certificates' }
  $type = 'Security.Cryptography.X509Certificates.X509Certificate2'
  $months = @('Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec')
  $lines = ''
  foreach ($path in @(Get-Entries $folder 'files')) {
    try {
      $data = Get-TailBytes $path 65536
      # Numbers: 1 is a certificate, and 3 has two names, Pfx and Pkcs12.
      $kind = [int][Security.Cryptography.X509Certificates.X509Certificate2]::GetCertContentType($data)
      if ($kind -eq 3) { $lines += "pfx`n" }
      if ($kind -ne 1) { continue }
      $end = (New-Object $type -ArgumentList (, $data)).NotAfter.ToUniversalTime()
      $parts = @($months[$end.Month - 1], $end.Day, $end.Hour, $end.Minute, $end.Second, $end.Year)
      $lines += ('notAfter={0} {1,2} {2:00}:{3:00}:{4:00} {5} GMT' -f $parts) + "`n"
    }
    catch {
      # What is no certificate is an error, too.
      if ((Get-Cause $_) -eq 'denied') { $visit['note'] = "${path}: access denied" }
    }
  }
  $visit['body'] = $lines
}

function Read-Identity($sid) {
  $home_path = Get-Text "SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList\$sid" 'ProfileImagePath'
  $about = @{
    profile_exists = $false; store_certificates = $null
    cleanup_days = (Get-Number 'SOFTWARE\Policies\Microsoft\Windows\System' 'CleanupProfiles')
    config_exists = (Find-Path "$env:ProgramData\AzureConnectedMachineAgent\Config\agentconfig.json")
  }
  if ($home_path) {
    $about['profile_exists'] = Find-Path $home_path
    $store = "$home_path\AppData\Roaming\Microsoft\SystemCertificates\My\Certificates"
    if ((Find-Path $store) -eq $false) { $about['store_certificates'] = 0 }
    else {
      try { $about['store_certificates'] = @(Get-Entries $store 'files').Count }
      catch { $visit['note'] = (Get-Trouble $_)['words'] }
    }
  }
  $visit['json'] = $about
}

function Read-Proxy {
  $machine = @{}
  foreach ($name in @('https_proxy', 'http_proxy', 'no_proxy')) {
    $machine[$name] = Get-Text "$system\Control\Session Manager\Environment" $name
  }
  $hex = ''
  $key = 'SOFTWARE\Microsoft\Windows\CurrentVersion\Internet Settings\Connections'
  foreach ($byte in @(Get-Value $key 'WinHttpSettings')) { $hex += '{0:X2}' -f $byte }
  $visit['json'] = @{ machine = $machine; winhttp = $hex }
}

# From the registry, as Get-TlsCipherSuite does: 2012 R2 lacks it, and PowerShell 7 would start a second one for it.
function Read-Tls {
  $suites = @(Get-Value "$system\Control\Cryptography\Configuration\Local\SSL\00010002" 'Functions')
  $policy = @(Get-Value 'SOFTWARE\Policies\Microsoft\Cryptography\Configuration\SSL\00010002' 'Functions')
  $about = @{ cipher_suites = $null; policy_suites = $null; protocols = @{} }
  if ("$suites") { $about['cipher_suites'] = @($suites | ForEach-Object { "$_" }) }
  if ("$policy") { $about['policy_suites'] = $policy -join ',' }
  foreach ($protocol in @('SSL 2.0', 'SSL 3.0', 'TLS 1.0', 'TLS 1.1', 'TLS 1.2', 'TLS 1.3')) {
    foreach ($side in @('Client', 'Server')) {
      $key = "$system\Control\SecurityProviders\SCHANNEL\Protocols\$protocol\$side"
      $on = Get-Number $key 'Enabled'
      $off = Get-Number $key 'DisabledByDefault'
      if ($null -eq $on -and $null -eq $off) { continue }
      $about['protocols']["$protocol/$side"] = @{ enabled = $on; disabled_by_default = $off }
    }
  }
  $visit['json'] = $about
}

function Read-TimeService {
  $key = "$system\Services\W32Time"
  $about = @{
    type = (Get-Text "$key\Parameters" 'Type'); server = (Get-Text "$key\Parameters" 'NtpServer')
    status = $null; start = (Get-Number $key 'Start')
  }
  try { $about['status'] = [int](Get-Service -Name W32Time).Status }
  catch { $visit['note'] = 'W32Time: ' + (Get-Trouble $_)['words'] }
  $visit['json'] = $about
}

# Who has a right by policy, from what the last application of policy left in WMI.
function Read-Rights($right) {
  $accounts = $null
  $query = "SELECT AccountList FROM RSOP_UserPrivilegeRight WHERE UserRight='$right' AND precedence=1"
  foreach ($row in @(Get-Cim 'root\rsop\computer' $query)) {
    $accounts = @()
    foreach ($account in $row.AccountList) { $accounts += "$account" }
  }
  $visit['json'] = @{ accounts = $accounts }
}

function Read-Licence($path) {
  $there = Find-Path $path
  if ($null -eq $there) { Assert-Path $path }
  $visit['json'] = @{ license_exists = $there }
}

function Read-Section($verb, $words, $bytes, $keep) {
  $first = "$($words[0])".Replace('%ProgramData%', "$env:ProgramData").Replace('%SystemRoot%', "$env:SystemRoot")
  switch ($verb) {
    'clock' { Read-Clock }
    'os' { Read-Os }
    'space' { Read-Space }
    'azcmagent' { Read-Agent $words $bytes $keep }
    'services' { Read-Services $words }
    'events' { Read-Events $words[0] $words[1] $words[2] $words[3] $words[4..($words.Count - 1)] }
    'tail' { Read-Tail $first $bytes }
    'files' { Read-Files $first $bytes }
    'certificates' { Read-Certificates $first }
    'identity' { Read-Identity $first }
    'proxy' { Read-Proxy }
    'tls' { Read-Tls }
    'time' { Read-TimeService }
    'rights' { Read-Rights $first }
    'esu' { Read-Licence $first }
    default { Stop-Section 1 'the script does not know this verb' }
  }
}

# One item: why it is skipped, or its output bounded, its exit code and the end of its stderr.
function Read-Item($item) {
  $name, $when, $seconds, $bytes, $keep, $verb, $words = $item -split '\|'
  $why = ''
  # A program that hung once would hang again.
  if ($verb -eq 'azcmagent' -and $visit['agent_hung']) { $why = 'hung' }
  if ($when -eq 'not-connected' -and (Test-Connected)) { $why = 'connected' }
  if ($when -eq 'failed' -and $visit['code'] -eq 0) { $why = 'not-needed' }
  if ($tier0) { $why = 'tier0' }
  if ($why) { Write-Frame "skip $name $why" ''; return }
  $visit['seconds'] = [int]$seconds
  $visit['code'] = 0
  $visit['body'] = ''
  $visit['note'] = ''
  $visit['json'] = $null
  try {
    $null = Read-Section $verb @($words) ([int]$bytes) $keep
    # Given by name, no pipe: it keeps an array of one an array.
    if ($null -ne $visit['json']) { $visit['body'] = ConvertTo-Json -InputObject $visit['json'] -Depth 5 -Compress }
  }
  catch {
    $trouble = Get-Trouble $_
    $visit['code'] = $trouble['code']
    $visit['note'] = $trouble['words']
    $visit['body'] = ''
  }
  if ($visit['body'] -is [string]) { $visit['body'] = Limit-Text $visit['body'] ([int]$bytes) $keep }
  Write-Frame "begin $name $who" $visit['body']
  Write-Frame "end $name $($visit['code'])" (Limit-Text "$($visit['note'])" 2048 'newest')
}

# A frame line and what stands below it: into the gzip, or as strings, each of which becomes a line.
function Write-Frame($line, $body) {
  if (-not $full) { "$nonce $line"; "$body"; return }
  $data = [Text.Encoding]::UTF8.GetBytes("`n$nonce $line`n")
  $gzip.Write($data, 0, $data.Length)
  if ($body -is [byte[]]) { $data = $body } else { $data = [Text.Encoding]::UTF8.GetBytes("$body") }
  $gzip.Write($data, 0, $data.Length)
}

# What the gzip has ready, as base64 in pieces of 256 KiB: one long string costs the other side more. Of each but
# the last the size is a multiple of three, so that they join. A few bytes wait for more.
function Send-Pieces($least) {
  $data = $packed.ToArray()
  $size = $data.Length
  if ($size -lt $least) { return }
  if ($least) { $size -= $size % 3 }
  for ($at = 0; $at -lt $size; $at += 196608) {
    [Convert]::ToBase64String($data, $at, [Math]::Min(196608, $size - $at))
  }
  $packed.SetLength(0)
  $packed.Write($data, $size, $data.Length - $size)
}

# The second argument, the run, is there for whoever reads the logs of the host.
$nonce, $run, $mode, $items = $args
$who = 'user'
if ($full) {
  $self = [Security.Principal.WindowsPrincipal][Security.Principal.WindowsIdentity]::GetCurrent()
  if ($self.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)) { $who = 'admin' }
}
else {
  # This key is open to administrators and to no user.
  try { $null = Get-ItemProperty -LiteralPath 'Registry::HKEY_USERS\S-1-5-19'; $who = 'admin' } catch { $null = $_ }
}
# LanmanNT is a domain controller, and the registry says so to everyone.
$product = Get-Text "$system\Control\ProductOptions" 'ProductType'
$tier0 = $mode -cne 'tier0' -and $product -eq 'LanmanNT'
if ($full) {
  $packed = New-Object IO.MemoryStream
  $fastest = [IO.Compression.CompressionLevel]::Fastest
  $gzip = New-Object IO.Compression.GZipStream -ArgumentList @($packed, $fastest, $true)
  "$nonce FLEET1 gzip64 $(Get-Epoch)"
}
else { "$nonce FLEET1 plain $(Get-Epoch)"; '' }
foreach ($item in @($items)) {
  Read-Item $item
  if ($full) { Send-Pieces 24576 }
}
Write-Frame "done $(@($items).Count)" ''
if ($full) {
  $gzip.Dispose()
  Send-Pieces 0
}
